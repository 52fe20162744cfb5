use std::collections::HashSet;

use wattle::fragments::{
    ExpertWeight, GroupLimit, InputNorm, InputRows, LaterRule, NestedGroups, Reduce, RouteRule, Selection,
};
use wattle::kernels::expert_plan::MAX_EXPERTS;
use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams, RouterLogits};
use wattle::model::config::{ExpertGroups, GroupScore, Hierarchical, Later, Routing, Score, Topk};
use wattle::reference::expert_plan::NONE;
use wattle::reference::matmul::matmul;
use wattle::reference::moe::{Router, Training, with_noise};

use crate::bound::{EPS, abs, exp_roundings, roundings};
use crate::harness::{Outputs, Run, gpu, span};
use crate::linear::{norm_roundings, normed, rows_of_every_size};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

const SCALE: f32 = 2.5;
/// Of the first weight, what later ones need.
const SHARE: f32 = 0.4;
const SEED: u32 = 91;
/// Thresholds at it are exact.
const JITTER: f32 = 0.25;

/// Rows of logits: ordinary ones, ones with many ties, all equal, huge ones, and one expert far above the others, some with
/// experts that are ruled out, and some that are no numbers.
pub fn logits(rows: usize, experts: usize, seed: u64) -> Vec<f32> {
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
            if experts[slot] == NONE {
                return 0.0;
            }
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
        ExpertWeight::Logit => {
            let Some(NestedGroups { groups, top_groups }) = rule.nested else { panic!("nested groups") };
            return Routing::Hierarchical(Hierarchical { groups, top_groups });
        }
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
        noise: rule.noise,
        later: match rule.later {
            LaterRule::Always => Later::Always,
            LaterRule::AtLeast => Later::AtLeast { share: SHARE },
            LaterRule::Sampled => Later::Sampled { share: SHARE },
        },
        ..Topk::of(score)
    })
}

/// What a router reads, and what else stands in its rows.
struct Inputs {
    logits: Vec<f32>,
    /// Spreads of noise, or logits of groups, `[rows, any]`.
    second: Vec<f32>,
    /// All of it, `[rows, stride]`.
    strided: Vec<f32>,
    params: MoeRouteParams,
}

impl Inputs {
    fn new(variant: MoeRoute, rows: usize, k: usize, seed: u64) -> Self {
        let (rule, count) = (variant.rule, variant.experts as usize);
        let logits = logits(rows, count, seed);
        let each = match rule.nested {
            Some(NestedGroups { groups, .. }) => groups as usize,
            None if rule.noise => count,
            None => 0,
        };
        let second = match rule.nested {
            Some(_) => self::logits(rows, each, seed + 50),
            None => Random::new(seed + 50).gaussian(rows * each),
        };
        // Between the two, and behind them, may stand something else.
        let offset = count + seed as usize % 2;
        let stride = offset + each + seed as usize % 3;
        let mut strided = vec![f32::NAN; rows * stride];
        for (row, to) in strided.chunks_mut(stride).enumerate() {
            to[..count].copy_from_slice(&logits[row * count..][..count]);
            to[offset..offset + each].copy_from_slice(&second[row * each..][..each]);
        }
        let is_plain = matches!(rule.weight, ExpertWeight::SparseMixer | ExpertWeight::Logit);
        let params = MoeRouteParams {
            scale: if is_plain { 1.0 } else { SCALE },
            jitter: JITTER,
            second_offset: offset as u32,
            seed: SEED,
            later_share: SHARE,
            ..MoeRouteParams::new(k as u32, stride as u32)
        };
        Self { logits, second, strided, params }
    }
}

fn check(variant: MoeRoute, rows: usize, k: usize, seed: u64) {
    let (rule, count) = (variant.rule, variant.experts as usize);
    let Inputs { mut logits, second, strided, params } = Inputs::new(variant, rows, k, seed);
    let positions: Vec<u32> = (9..9 + rows as u32).collect();
    let training = Training { seed: SEED, positions: &positions };
    if rule.noise {
        logits = with_noise(&logits, &second, count, training);
    }
    let mut random = Random::new(seed + 100);
    let bias = match rule.selection {
        Selection::Biased => random.gaussian(count),
        Selection::Logits | Selection::Scores => vec![0.0; count],
    };
    let scales = random.gaussian(count);
    let router = Router {
        selection_bias: Some(&bias),
        expert_scale: rule.expert_scale.then_some(&scales),
        group_logits: rule.nested.map(|_| &second[..]),
        training: (rule.later == LaterRule::Sampled).then_some(training),
        ..Router::new(routing(rule), count, k)
    };
    let expected = router.route(&logits);
    let run = Run::new(variant, params, span(9, rows), format_args!("seed {seed}, k = {k}"));
    let run = run.with("logits", &strided).out("expert_of_slot", rows * k);
    let biased = rule.selection == Selection::Biased;
    let run = if biased { run.with("selection_bias", &bias) } else { run };
    let run = if rule.expert_scale { run.with("expert_scale", &scales) } else { run };
    let found = run.out("weight_of_slot", rows * k).go();
    let keys = router.keys(&logits);
    assert_choices(rule, &keys, count, k, &expected.experts, &found);
    let chosen = found.words("expert_of_slot");
    // Of choices that are not used, weighing would not know.
    let weights = match rule.later {
        LaterRule::Always => router.weigh(&logits, chosen),
        LaterRule::AtLeast | LaterRule::Sampled => expected.weights,
    };
    let score = if rule.weight == ExpertWeight::Sigmoid { Score::Sigmoid } else { Score::Softmax };
    let mut tolerances = tolerances(&logits, chosen, &weights, rows, score);
    if rule.noise {
        // A quantile of a normal number is good to some units of f32, times a spread of up to about 4; so are logits, and
        // exponentials of them.
        tolerances.iter_mut().zip(&weights).for_each(|(t, weight)| *t += 2e-5 * weight.abs());
    }
    if rule.nested.is_some() {
        // The product of two softmaxes, the one of groups no worse.
        tolerances
            .iter_mut()
            .zip(&weights)
            .for_each(|(t, weight)| *t = 4.0 * *t + 200.0 * EPS * weight.abs());
    }
    found.close("weight_of_slot", &weights, Tolerance::Each(&tolerances));
}

/// The same experts, but for those whose keys are all but equal where they are rounded.
fn assert_choices(rule: RouteRule, keys: &[f32], count: usize, k: usize, expected: &[u32], found: &Outputs) {
    let is_exact = rule.selection == Selection::Logits && !rule.noise && rule.later == LaterRule::Always;
    if is_exact {
        found.same("expert_of_slot", expected);
    }
    let chosen = found.words("expert_of_slot");
    for (slot, (found_expert, expert)) in chosen.iter().zip(expected).enumerate() {
        // Whether a later choice is used hangs on a product of rounded weights; in these cases never by a hair.
        assert_eq!(*found_expert == NONE, *expert == NONE, "{}, slot {slot}", found.what());
        if *expert == NONE {
            continue;
        }
        let [one, other] = [found_expert, expert].map(|e| keys[slot / k * count + *e as usize]);
        let bound = if rule.noise { 1e-5 } else { 64.0 * EPS };
        let alike = one == other || (one - other).abs() <= bound * one.abs().max(1.0);
        assert!(alike, "{}, slot {slot}: {found_expert} for {expert}, {one} for {other}", found.what());
    }
    for of_token in chosen.chunks(k) {
        let used = || of_token.iter().filter(|expert| **expert != NONE);
        let distinct: HashSet<_> = used().collect();
        assert_eq!(distinct.len(), used().count(), "{}: {of_token:?}", found.what());
        assert_ne!(of_token[0], NONE, "{}: a first choice is used", found.what());
    }
}

/// Logits within the rounding of a norm and a product, and of what was found exactly the choices that the reference makes.
fn check_computed(variant: MoeRoute, [rows, width]: [usize; 2], k: usize, seed: u64) {
    let RouterLogits::Computed { inputs, norm, bias } = variant.logits else { panic!("{variant:?}") };
    let width = if inputs == InputRows::Quads { width.next_multiple_of(4) } else { width };
    let count = variant.experts as usize;
    // Behind the experts stands something else, a gate.
    let stride = count + seed as usize % 2;
    let mut random = Random::new(seed);
    let x = rows_of_every_size(&mut random, rows, width);
    let (router, biases) = (random.gaussian(stride * width), random.gaussian(stride));
    let (norm_weight, selection_bias) = (random.gaussian(2 * width), random.gaussian(count));
    let (scale, shift) = norm_weight.split_at(width);
    let row_quads = width.div_ceil(4);
    let mut padded = vec![0.0; stride * 4 * row_quads];
    for (to, from) in padded.chunks_mut(4 * row_quads).zip(router.chunks(width)) {
        to[..width].copy_from_slice(from);
    }
    let params = MoeRouteParams {
        in_features: width as u32,
        row_quads: row_quads as u32,
        eps: 1e-5,
        ..MoeRouteParams::new(k as u32, stride as u32)
    };
    let run = Run::new(variant, params, span(9, rows), format_args!("seed {seed}, k = {k}, width {width}"));
    let mut run = run.with("x", &x).with("router", &padded).out("logits", rows * stride);
    match norm {
        InputNorm::None => {}
        InputNorm::Rms => run = run.with("norm_weight", scale),
        InputNorm::Layer | InputNorm::Affine => run = run.with("norm_weight", &norm_weight),
    }
    if bias {
        run = run.with("router_biases", &biases);
    }
    let is_biased = variant.rule.selection == Selection::Biased;
    if is_biased {
        run = run.with("selection_bias", &selection_bias);
    }
    let found = run.out("expert_of_slot", rows * k).out("weight_of_slot", rows * k).go();

    let (mut expected, mut bounds) = (Vec::new(), Vec::new());
    for x in x.chunks(width) {
        let (y, sizes, of_norm) = match norm {
            InputNorm::None => (x.to_vec(), abs(x), 0.0),
            norm => {
                let (y, size) = normed(norm, 1e-5, x, scale, shift);
                (y, size, norm_roundings(norm, width))
            }
        };
        let biases = bias.then_some(&biases[..]);
        expected.extend(matmul(&y, &router, biases, width));
        let sums = matmul(&sizes, &abs(&router), None, width);
        let of_bias = |n: usize| biases.map_or(0.0, |biases| biases[n].abs());
        let bound = |(n, sum): (usize, &f32)| EPS * ((roundings(width) + of_norm) * sum + 2.0 * of_bias(n));
        bounds.extend(sums.iter().enumerate().map(bound));
    }
    found.close("logits", &expected, Tolerance::Each(&bounds));

    let logits: Vec<f32> =
        found.floats("logits").chunks(stride).flat_map(|row| &row[..count]).copied().collect();
    let bias = if is_biased { selection_bias } else { vec![0.0; count] };
    let routing = Routing::Topk(Topk { selection_bias: is_biased, ..Topk::of(Score::Softmax) });
    let router = Router { selection_bias: Some(&bias), ..Router::new(routing, count, k) };
    assert_choices(variant.rule, &router.keys(&logits), count, k, &router.choose(&logits), &found);
    let chosen = found.words("expert_of_slot");
    let weights = router.weigh(&logits, chosen);
    let tolerances = tolerances(&logits, chosen, &weights, rows, Score::Softmax);
    found.close("weight_of_slot", &weights, Tolerance::Each(&tolerances));
}

#[test]
fn logits_that_are_computed_agree_with_the_reference() {
    let variants = selected::<MoeRoute>();
    let computed = variants.into_iter().filter(|variant| variant.logits != RouterLogits::Stored);
    for (n, variant) in computed.enumerate() {
        for (seed, shape) in [[1, 1], [3, 33], [4, 64], [5, 130], [9, 257]].into_iter().enumerate() {
            let k = (1 + (n + seed) % 4).min(variant.experts as usize);
            check_computed(variant, shape, k, (n + seed) as u64);
        }
    }
}

#[test]
fn choices_agree_with_the_reference() {
    let variants = selected::<MoeRoute>();
    for variant in variants.into_iter().filter(|variant| variant.logits == RouterLogits::Stored) {
        let count = variant.experts as usize;
        let most = variant.rule.groups.map_or(count, |of| (of.limit * variant.experts / of.groups) as usize);
        let fits = |k: &usize| match variant.rule.nested {
            None => *k <= most,
            Some(NestedGroups { groups, top_groups }) => {
                let each = *k / top_groups as usize;
                k.is_multiple_of(top_groups as usize) && (1..=count / groups as usize).contains(&each)
            }
        };
        for (seed, k) in [1, 2, 3, 8, 4, 6, most.min(64)].into_iter().filter(fits).enumerate() {
            check(variant, [9, 1, 5][seed % 3], k, seed as u64);
        }
    }
}

#[test]
fn all_of_very_many_experts_can_be_chosen() {
    let reduce = Reduce::of(gpu().capabilities());
    let variant = MoeRoute { reduce, ..MoeRoute::new(MAX_EXPERTS, RouteRule::SOFTMAX) };
    // A step in which experts choose is one: of a CPU, only so many lanes come to the end of it.
    check(variant.for_device(MAX_EXPERTS, 0, gpu().capabilities()), 9, MAX_EXPERTS as usize, 0);
}
