use std::collections::HashSet;

use wattle::fragments::{ExpertWeight, GroupLimit, Reduce, RouteRule, Selection};
use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams};
use wattle::kernels::moe_scan::MAX_EXPERTS;
use wattle::model::config::{ExpertGroups, GroupScore, Routing, Score, Topk};
use wattle::reference::moe::Router;

use crate::bound::{EPS, exp_roundings, roundings};
use crate::harness::{Run, gpu, span};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

const SCALE: f32 = 2.5;
/// Thresholds at it are exact.
const JITTER: f32 = 0.25;

/// Rows of logits: ordinary ones, ones with many ties, all equal, huge ones, and one expert far above the others, some with
/// experts that are ruled out, and some that are no numbers.
fn logits(rows: usize, experts: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut row = |r: usize| -> Vec<f32> {
        let x = random.gaussian(experts);
        let each = |(e, x): (usize, &f32)| match r % 8 {
            0 => 3.0 * x,
            1 => (2.0 * x).round() / 2.0,
            2 => -0.5,
            3 => 1e4 * x.signum() + x,
            4 if e == experts / 2 => 1e4,
            5 if e % 3 == 1 => f32::NEG_INFINITY,
            6 if e % 3 == 1 => f32::NAN,
            7 => f32::NAN,
            _ => *x,
        };
        x.iter().enumerate().map(each).collect()
    };
    (0..rows).flat_map(&mut row).collect()
}

/// Of softmax, `exp(z - top) / sum`: the roundings of exp for this and, less, for the others, and of the sum; twice with the
/// renormalization. The shader takes `exp` of at least -80, and a device may flush what is denormal. A sigmoid has the
/// exponential of the logit itself.
pub fn tolerances(logits: &[f32], experts: &[u32], weights: &[f32], rows: usize, score: Score) -> Vec<f32> {
    let (count, k) = (logits.len() / rows, experts.len() / rows);
    let of_row = |row: usize| {
        let logits = &logits[row * count..][..count];
        let top = logits.iter().copied().filter(|logit| !logit.is_nan()).fold(f32::MIN, f32::max);
        let exp = move |e: u32| match score {
            Score::Softmax => exp_roundings((logits[e as usize] - top).max(-80.0)),
            Score::Sigmoid => exp_roundings(logits[e as usize].clamp(-80.0, 80.0)),
        };
        (row * k..(row + 1) * k).map(move |slot| {
            (exp(experts[slot]) + 2.0 * roundings(count) + 24.0) * EPS * weights[slot].abs() + 2e-35
        })
    };
    (0..rows).flat_map(of_row).collect()
}

/// The description that a rule is made from. One that chooses by scores has biases, which may all be 0.
fn routing(rule: RouteRule) -> Routing {
    let score = match rule.weight {
        ExpertWeight::Softmax => Score::Softmax,
        ExpertWeight::Sigmoid => Score::Sigmoid,
        ExpertWeight::SparseMixer => return Routing::SparseMixer { jitter: JITTER },
    };
    let groups = rule.groups.map(|GroupLimit { groups, limit, two_best }| ExpertGroups {
        count: groups,
        limit,
        score: if two_best { GroupScore::TwoBest } else { GroupScore::Best },
    });
    Routing::Topk(Topk {
        renormalize: rule.renormalize,
        scale: SCALE,
        selection_bias: rule.selection != Selection::Logits,
        expert_scale: rule.expert_scale,
        groups,
        ..Topk::of(score)
    })
}

fn check(variant: MoeRoute, rows: usize, k: usize, seed: u64) {
    let (rule, count) = (variant.rule, variant.experts as usize);
    let logits = logits(rows, count, seed);
    let mut random = Random::new(seed + 100);
    let bias = match rule.selection {
        Selection::Biased => random.gaussian(count),
        Selection::Logits | Selection::Scores => vec![0.0; count],
    };
    let scales = random.gaussian(count);
    let router = Router {
        selection_bias: Some(&bias),
        expert_scale: rule.expert_scale.then_some(&scales),
        ..Router::new(routing(rule), count, k)
    };
    let expected = router.choose(&logits);
    // Behind the logits may stand something else.
    let stride = count + seed as usize % 2;
    let mut strided = vec![f32::NAN; rows * stride];
    for (to, from) in strided.chunks_mut(stride).zip(logits.chunks(count)) {
        to[..count].copy_from_slice(from);
    }
    let params = MoeRouteParams {
        choices: k as u32,
        logit_stride: stride as u32,
        scale: if rule.weight == ExpertWeight::SparseMixer { 1.0 } else { SCALE },
        jitter: JITTER,
    };
    let run = Run::new(variant, params, span(9, rows), format_args!("seed {seed}, k = {k}"));
    let run = run.with("logits", &strided).out("expert_of_slot", rows * k);
    let biased = rule.selection == Selection::Biased;
    let run = if biased { run.with("selection_bias", &bias) } else { run };
    let run = if rule.expert_scale { run.with("expert_scale", &scales) } else { run };
    let found = run.out("weight_of_slot", rows * k).go();
    if rule.selection == Selection::Logits {
        found.same("expert_of_slot", &expected);
    }
    let chosen = found.words("expert_of_slot");
    let keys = router.keys(&logits);
    for (slot, (found_expert, expert)) in chosen.iter().zip(&expected).enumerate() {
        let [one, other] = [found_expert, expert].map(|e| keys[slot / k * count + *e as usize]);
        // Scores are rounded: those that are all but equal may change places.
        let alike = one == other || (one - other).abs() <= 64.0 * EPS * one.abs().max(1.0);
        assert!(alike, "{}, slot {slot}: {found_expert} for {expert}, {one} for {other}", found.what());
    }
    for of_token in chosen.chunks(k) {
        let distinct: HashSet<_> = of_token.iter().collect();
        assert_eq!(distinct.len(), k, "{}: {of_token:?}", found.what());
    }
    let weights = router.weigh(&logits, chosen);
    let score = if rule.weight == ExpertWeight::Sigmoid { Score::Sigmoid } else { Score::Softmax };
    let tolerances = tolerances(&logits, chosen, &weights, rows, score);
    found.close("weight_of_slot", &weights, Tolerance::Each(&tolerances));
}

#[test]
fn choices_agree_with_the_reference() {
    for variant in selected::<MoeRoute>() {
        let count = variant.experts as usize;
        let most = variant.rule.groups.map_or(count, |of| (of.limit * variant.experts / of.groups) as usize);
        for (seed, k) in [1, 2, 3, 8, most.min(64)].into_iter().filter(|k| *k <= most).enumerate() {
            check(variant, [9, 1, 5][seed % 3], k, seed as u64);
        }
    }
}

#[test]
fn all_of_very_many_experts_can_be_chosen() {
    let reduce = Reduce::of(gpu().capabilities());
    let variant = MoeRoute { experts: MAX_EXPERTS, rule: RouteRule::SOFTMAX, reduce };
    check(variant, 9, MAX_EXPERTS as usize, 0);
}
