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
    let max_rounds = variant.max_rounds(rows as u32, gpu().capabilities().is_cpu).unwrap();
    let params = MoeAuctionParams { logit_stride: experts as u32, epsilon, max_rounds };
    let run = Run::new(variant, params, span(2, rows), case).with("logits", logits);
    let run = run.out("bidders", variant.bidder_bytes(rows as u32) as usize / 4);
    run.out("expert_of_slot", rows).out("weight_of_slot", rows).go()
}

fn score(logits: &[f32], experts: usize, chosen: &[u32]) -> f64 {
    logits.chunks(experts).zip(chosen).map(|(row, e)| f64::from(row[*e as usize])).sum()
}

const EPSILON: f32 = 1e-3;

/// Within `n epsilon` of the best assignment there is, and no expert with more than its share.
fn assert_best(logits: &[f32], rows: usize, experts: usize, case: &str) -> Outputs {
    let found = run(logits, rows, experts, EPSILON, case);
    let chosen = found.words("expert_of_slot");
    let share = rows.div_ceil(experts);
    let counts: Vec<usize> =
        (0..experts as u32).map(|e| chosen.iter().filter(|c| **c == e).count()).collect();
    assert!(counts.iter().all(|count| *count <= share), "{}: {counts:?} of {share}", found.what());
    let range =
        logits.iter().fold(f32::MIN, |a, b| a.max(*b)) - logits.iter().fold(f32::MAX, |a, b| a.min(*b));
    let least = least_increment(EPSILON, range);
    assert_eq!(increment(&found), least, "{}: the increment reached", found.what());
    let bound = (share * experts) as f64 * f64::from(least);
    let (best, sum) = (best_score(logits, rows, experts, share), score(logits, experts, chosen));
    println!("{rows} tokens, {experts} experts, {case}: {:.1e} below {best}, epsilon {least}", best - sum);
    assert!(best - sum <= bound + 1e-4, "{}: {sum} of {best}, bound {bound}", found.what());
    assert!(sum <= best + 1e-4, "{}: {sum} is more than {best}", found.what());
    assert_eq!(chosen, auction(logits, experts, EPSILON, u32::MAX), "{}: the reference's", found.what());
    found
}

/// That at which everybody last had a place.
fn increment(found: &Outputs) -> f32 {
    f32::from_bits(found.words("bidders")[2])
}

#[test]
fn tokens_are_shared_out_and_the_sum_is_the_largest() {
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
        let found = assert_best(&logits, rows, experts, &format!("seed {seed}"));
        let router = Router::new(Routing::Topk(Topk::of(Score::Sigmoid)), experts, 1);
        let chosen = found.words("expert_of_slot");
        let weights = router.weigh(&logits, chosen);
        let tolerances = tolerances(&logits, chosen, &weights, rows, Score::Sigmoid);
        found.close("weight_of_slot", &weights, Tolerance::Each(&tolerances));
    }
}

/// A device that counts turns of loops has enough of them for 256 tokens, also where all want the same experts.
#[test]
fn many_experts_leave_enough_rounds() {
    for experts in [16, 64, 256] {
        let random = Random::new(experts as u64).gaussian(256 * experts);
        let of = |more: fn(f32, f32) -> f32| -> Vec<f32> {
            let place = |n: usize| (n % experts) as f32 / experts as f32;
            random.iter().enumerate().map(|(n, logit)| more(*logit, place(n))).collect()
        };
        assert_best(&random, 256, experts, "even");
        assert_best(&of(|logit, place| if place == 0.0 { logit + 4.0 } else { logit }), 256, experts, "one");
        assert_best(&of(|logit, place| logit + 8.0 * (-8.0 * place).exp()), 256, experts, "some");
        // Who gains from what is all but the same for everybody.
        assert_best(&of(|logit, place| 0.01 * logit + 4.0 * place), 256, experts, "alike");
    }
}

/// However few rounds there are, no expert has more than its share, and the sum is as near to the largest as is said: of many
/// tokens, on drivers that end long loops, too.
#[test]
fn shares_hold_when_rounds_run_out() {
    for (rows, experts, max_rounds) in [(300, 4, 1), (512, 8, 3), (96, 16, 20), (96, 16, 60), (1024, 8, 0)] {
        let logits = Random::new(rows as u64).gaussian(rows * experts);
        let variant = MoeAuction { experts: experts as u32 };
        let most = variant.max_rounds(rows as u32, gpu().capabilities().is_cpu).unwrap();
        let max_rounds = if max_rounds == 0 { most } else { max_rounds };
        let params = MoeAuctionParams { logit_stride: experts as u32, epsilon: EPSILON, max_rounds };
        let run = Run::new(variant, params, span(2, rows), "few rounds").with("logits", &logits);
        let run = run.out("bidders", variant.bidder_bytes(rows as u32) as usize / 4);
        let found = run.out("expert_of_slot", rows).out("weight_of_slot", rows).go();
        found.same("expert_of_slot", &auction(&logits, experts, EPSILON, max_rounds));
        let chosen = found.words("expert_of_slot");
        for expert in 0..experts as u32 {
            let count = chosen.iter().filter(|e| **e == expert).count();
            assert!(count <= rows.div_ceil(experts), "{}", found.what());
        }
        let reached = increment(&found);
        println!("{rows} tokens, {experts} experts, {max_rounds} rounds: increment {reached}");
        assert_eq!(reached == 0.0, max_rounds < 20, "{}", found.what());
        if reached > 0.0 && rows < 1000 {
            let below = best_score(&logits, rows, experts, rows / experts) - score(&logits, experts, chosen);
            assert!(reached > EPSILON, "{}", found.what());
            assert!(below <= rows as f64 * f64::from(reached), "{}: {below}", found.what());
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
        // What is no number weighs nothing, and an infinity as much as there is.
        let weight = |(row, expert): (usize, &u32)| match logits[row * experts + *expert as usize] {
            logit if logit.is_nan() => 0.0,
            logit => (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32,
        };
        let weights: Vec<f32> = chosen.iter().enumerate().map(weight).collect();
        found.close("weight_of_slot", &weights, Tolerance::OfLargest(1e-6));
    }
}
