use wattle::kernels::moe_auction::{MoeAuction, MoeAuctionParams};
use wattle::model::config::{Routing, Score, Topk};
use wattle::reference::auction::{auction, least_increment};
use wattle::reference::moe::Router;

use crate::assignment::best_score;
use crate::harness::{Outputs, Run, gpu, span};
use crate::moe_route::tolerances;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

fn run(logits: &[f32], rows: usize, experts: usize, epsilon: f32, case: &str) -> Outputs {
    let variant = MoeAuction { experts: experts as u32 };
    let max_rounds = variant.max_rounds(rows as u32, gpu().capabilities().is_cpu);
    let params = MoeAuctionParams { logit_stride: experts as u32, epsilon, max_rounds };
    let run = Run::new(variant, params, span(2, rows), case).with("logits", logits);
    let run = run.out("bidders", variant.bidder_bytes(rows as u32) as usize / 4);
    run.out("expert_of_slot", rows).out("weight_of_slot", rows).go()
}

fn score(logits: &[f32], experts: usize, chosen: &[u32]) -> f64 {
    logits.chunks(experts).zip(chosen).map(|(row, e)| f64::from(row[*e as usize])).sum()
}

/// Within `n epsilon` of the best assignment there is, and no expert with more than its share; up to 256 tokens.
#[test]
fn tokens_are_shared_out_and_the_sum_is_the_largest() {
    const EPSILON: f32 = 1e-3;
    for (seed, (rows, experts)) in
        [(1, 1), (1, 5), (7, 3), (16, 16), (37, 8), (64, 4), (65, 1), (96, 7), (256, 8)]
            .into_iter()
            .enumerate()
    {
        let mut logits = Random::new(seed as u64).gaussian(rows * experts);
        if seed % 3 == 1 {
            // Everybody wants the first.
            logits.iter_mut().step_by(experts).for_each(|logit| *logit += 4.0);
        }
        let case = format!("seed {seed}");
        let found = run(&logits, rows, experts, EPSILON, &case);
        let chosen = found.words("expert_of_slot");
        let share = rows.div_ceil(experts);
        let counts: Vec<usize> =
            (0..experts as u32).map(|e| chosen.iter().filter(|c| **c == e).count()).collect();
        assert!(counts.iter().all(|count| *count <= share), "{}: {counts:?} of {share}", found.what());
        let range =
            logits.iter().fold(f32::MIN, |a, b| a.max(*b)) - logits.iter().fold(f32::MAX, |a, b| a.min(*b));
        let bound = (share * experts) as f64 * f64::from(least_increment(EPSILON, range));
        let (best, sum) = (best_score(&logits, rows, experts, share), score(&logits, experts, chosen));
        assert!(best - sum <= bound + 1e-4, "{}: {sum} of {best}, bound {bound}", found.what());
        assert!(sum <= best + 1e-4, "{}: {sum} is more than {best}", found.what());
        assert_eq!(chosen, auction(&logits, experts, EPSILON, u32::MAX), "{}: the reference's", found.what());
        let router = Router::new(Routing::Topk(Topk::of(Score::Sigmoid)), experts, 1);
        let weights = router.weigh(&logits, chosen);
        let tolerances = tolerances(&logits, chosen, &weights, rows, Score::Sigmoid);
        found.close("weight_of_slot", &weights, Tolerance::Each(&tolerances));
    }
}

/// However few rounds there are, no expert has more than its share: of many tokens, on drivers that end long loops, too.
#[test]
fn shares_hold_when_rounds_run_out() {
    for (rows, experts, max_rounds) in [(300, 4, 1), (512, 8, 3), (1024, 8, 0)] {
        let logits = Random::new(rows as u64).gaussian(rows * experts);
        let variant = MoeAuction { experts: experts as u32 };
        let is_cpu = gpu().capabilities().is_cpu;
        let max_rounds = if max_rounds == 0 { variant.max_rounds(rows as u32, is_cpu) } else { max_rounds };
        let params = MoeAuctionParams { logit_stride: experts as u32, epsilon: 1e-3, max_rounds };
        let run = Run::new(variant, params, span(2, rows), "few rounds").with("logits", &logits);
        let run = run.out("bidders", variant.bidder_bytes(rows as u32) as usize / 4);
        let found = run.out("expert_of_slot", rows).out("weight_of_slot", rows).go();
        found.same("expert_of_slot", &auction(&logits, experts, 1e-3, max_rounds));
        for expert in 0..experts as u32 {
            let count = found.words("expert_of_slot").iter().filter(|e| **e == expert).count();
            assert_eq!(count, rows / experts, "{}", found.what());
        }
    }
}

/// Tokens that are all alike, and logits without bound.
#[test]
fn wars_of_prices_end() {
    let alike: Vec<f32> = (0..64).flat_map(|_| (0..8).map(|e| e as f32)).collect();
    let bad: Vec<f32> = (0..16 * 4)
        .map(|n| [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e4, -1e4, 0.0, 2.0][n % 7])
        .collect();
    for (logits, rows, experts) in [(alike, 64, 8), (bad, 16, 4)] {
        let found = run(&logits, rows, experts, 1e-3, "hard");
        let chosen = found.words("expert_of_slot");
        for expert in 0..experts as u32 {
            assert_eq!(chosen.iter().filter(|c| **c == expert).count(), rows / experts, "{chosen:?}");
        }
    }
}
