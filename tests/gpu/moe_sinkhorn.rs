use wattle::kernels::moe_sinkhorn::{MoeSinkhorn, MoeSinkhornParams};
use wattle::model::config::{Routing, Score};
use wattle::reference::moe::{Router, Training};
use wattle::reference::sinkhorn::column_factors;

use crate::bound::EPS;
use crate::harness::{Run, span};
use crate::moe_route::tolerances;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

#[test]
fn experts_are_those_of_the_balanced_plan() {
    for (seed, (rows, experts, iterations)) in
        [(1, 1, 1), (1, 8, 8), (37, 4, 8), (64, 8, 1), (300, 5, 8), (256, 64, 20), (3, 512, 2)]
            .into_iter()
            .enumerate()
    {
        let scale = [1.0, 8.0][seed % 2];
        let logits: Vec<f32> =
            Random::new(seed as u64).gaussian(rows * experts).into_iter().map(|x| scale * x).collect();
        let stride = experts + seed % 3;
        let mut strided = vec![f32::NAN; rows * stride];
        for (to, from) in strided.chunks_mut(stride).zip(logits.chunks(experts)) {
            to[..experts].copy_from_slice(from);
        }
        let params = MoeSinkhornParams { logit_stride: stride as u32, iterations };
        let variant = MoeSinkhorn { experts: experts as u32 };
        let run = Run::new(variant, params, span(2, rows), format_args!("seed {seed}"));
        let run = run.with("logits", &strided).out("row_factors", rows);
        let found = run.out("expert_of_slot", rows).out("weight_of_slot", rows).go();

        let factors = column_factors(&logits, experts, iterations);
        let chosen = found.words("expert_of_slot");
        // Every round adds the roundings of two sums of exponentials, each of a few units of the largest term.
        let rounding = f64::from(EPS) * f64::from(iterations + 1) * 32.0 * f64::from(scale).max(4.0);
        for (row, (&expert, logits)) in chosen.iter().zip(logits.chunks(experts)).enumerate() {
            let key = |e: usize| f64::from(logits[e]) + factors[e];
            let best = (0..experts).map(key).fold(f64::NEG_INFINITY, f64::max);
            let off = best - key(expert as usize);
            assert!(off <= rounding, "{}, row {row}: {off} below the best, bound {rounding}", found.what());
        }
        let router = Router::new(Routing::softmax_topk(false), experts, 1);
        let weights = router.weigh(&logits, chosen);
        let tolerances = tolerances(&logits, chosen, &weights, rows, Score::Softmax);
        // The running sum is rescaled as its largest term grows.
        let tolerances: Vec<f32> = tolerances.iter().map(|tolerance| 4.0 * tolerance).collect();
        found.close("weight_of_slot", &weights, Tolerance::Each(&tolerances));
    }
}

/// A device that counts turns of loops makes as many rounds as it is let: it would leave tokens without an expert.
#[test]
fn the_most_rounds_are_all_made() {
    let (rows, experts) = (4096, 5);
    let variant = MoeSinkhorn { experts: experts as u32 };
    let is_let = |iterations: &u32| variant.check_turns(rows as u32, *iterations, true).is_ok();
    let iterations = (1..1000).take_while(is_let).last().unwrap();
    let logits = Random::new(6).gaussian(rows * experts);
    let params = MoeSinkhornParams { logit_stride: experts as u32, iterations };
    let run = Run::new(variant, params, span(0, rows), "").with("logits", &logits);
    let found = run.out("row_factors", rows).out("expert_of_slot", rows).out("weight_of_slot", rows).go();
    let router = Router::new(Routing::softmax_topk(false), experts, 1);
    let chosen = found.words("expert_of_slot");
    let left = chosen.iter().position(|expert| *expert >= experts as u32);
    assert_eq!(left, None, "{}: a token without an expert", found.what());
    found.close("weight_of_slot", &router.weigh(&logits, chosen), Tolerance::Mixed(0.0, 1e-5));
}

/// A hundred rounds leave nothing unbalanced: where all tokens like one expert best, it gets its share.
#[test]
fn columns_are_balanced() {
    let (rows, experts) = (256, 4);
    let mut logits = Random::new(3).gaussian(rows * experts);
    logits.iter_mut().step_by(experts).for_each(|logit| *logit += 5.0);
    let params = MoeSinkhornParams { logit_stride: experts as u32, iterations: 100 };
    let run = Run::new(MoeSinkhorn { experts: experts as u32 }, params, span(0, rows), "");
    let run = run.with("logits", &logits).out("row_factors", rows);
    let found = run.out("expert_of_slot", rows).out("weight_of_slot", rows).go();
    let counts = |chosen: &[u32]| {
        (0..experts as u32).map(|expert| chosen.iter().filter(|e| **e == expert).count()).collect::<Vec<_>>()
    };
    let positions: Vec<u32> = (0..rows as u32).collect();
    let training = Some(Training { seed: 0, positions: &positions });
    let router = Router::new(Routing::Sinkhorn { iterations: 100 }, experts, 1);
    let (balanced, greedy) = (Router { training, ..router }.choose(&logits), router.choose(&logits));
    assert_eq!(counts(found.words("expert_of_slot")), counts(&balanced), "{}", found.what());
    let most = |chosen: &[u32]| counts(chosen).into_iter().max();
    assert!(most(&balanced) < most(&greedy), "{:?} {:?}", counts(&balanced), counts(&greedy));
}

/// NaN, infinities and logits of 1e4 leave every token with some expert and a weight.
#[test]
fn bad_logits_are_survived() {
    let logits = [[f32::NAN, 1e4, -1e4], [f32::NEG_INFINITY, 0.0, 0.0], [f32::INFINITY, 0.0, 1.0]].concat();
    let params = MoeSinkhornParams { logit_stride: 3, iterations: 8 };
    let run = Run::new(MoeSinkhorn { experts: 3 }, params, span(0, 3), "").with("logits", &logits);
    let found = run.out("row_factors", 3).out("expert_of_slot", 3).out("weight_of_slot", 3).go();
    let training = Some(Training { seed: 0, positions: &[0, 1, 2] });
    let routes = Router { training, ..Router::new(Routing::Sinkhorn { iterations: 8 }, 3, 1) }.route(&logits);
    found.same("expert_of_slot", &routes.experts);
    found.close("weight_of_slot", &routes.weights, Tolerance::Mixed(1e-30, 1e-5));
}
