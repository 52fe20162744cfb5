//! What experts take of a pass, and in which order.

use wattle::kernels::expert_plan::ExpertShare;
use wattle::model::config::{Activation, Capacity, Experts, FeedForward, GrantOrder, Routing, Share};
use wattle::reference::expert_plan::{NONE, combine, plan, plan_within, queue, queue_positions};
use wattle::reference::moe::Router;

use crate::moe::expert_outputs;
use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::drops::{GOLDEN, ORDERS, UNIFORM, assert_dropped, per_choice, uniform_routes};
use crate::support::golden::Golden;
use crate::support::random::Random;

/// The files that are read here.
pub const FILES: &[&str] = &{
    let mut names = [""; GOLDEN.len()];
    let mut n = 0;
    while n < GOLDEN.len() {
        names[n] = GOLDEN[n].0;
        n += 1;
    }
    names
};

fn check_order(file: &str, golden: &Golden, (order, prefix): (GrantOrder, &str), k: usize, capacity: u32) {
    let name = |part: &str| format!("{prefix}.{part}");
    let case = format!("{file}, {prefix}");
    let (weights, chosen) = (golden.floats("weight"), golden.indices("topk_idx"));
    let count = golden.shape("logits")[1];
    let queue = queue(order, &weights, k);
    let positions = queue_positions(&chosen, &queue, count);
    assert_same(&format!("{case}, positions"), &positions, &golden.indices(&name("position")));
    let plan = plan_within(&chosen, &queue, [count, k], capacity);
    let dropped = plan.slots.iter().filter(|slot| **slot == NONE).count();
    assert_eq!(vec![dropped as u32], golden.indices(&name("dropped")), "{case}");
    // Tokens of each expert, filled up to its capacity.
    let mut slots = Vec::new();
    for places in plan.offsets.windows(2) {
        let taken = &plan.tokens[places[0] as usize..places[1] as usize];
        slots.extend(taken);
        slots.extend(std::iter::repeat_n(NONE, capacity as usize - taken.len()));
    }
    assert_same(&format!("{case}, tokens"), &slots, &golden.indices(&name("slots")));
    let found = combine(&expert_outputs(golden, &plan), &plan.slots, &weights, k, golden.shape("x")[1]);
    assert_close(&case, &found, &golden.floats(&name("y")), Tolerance::OfLargest(1e-6));
}

#[test]
fn drops_are_golden() {
    for (file, k, factor) in GOLDEN {
        let golden = Golden::op(file);
        let &[rows, count] = &golden.shape("logits")[..] else { panic!("{file}: logits are [T,E]") };
        let router = Router::new(Routing::softmax_topk(k > 1), count, k);
        let routes = router.route(&golden.floats("logits"));
        assert_same(file, &routes.experts, &golden.indices("topk_idx"));
        assert_close(file, &routes.weights, &golden.floats("weight"), Tolerance::Mixed(0.0, 2e-6));
        for (order, prefix) in ORDERS.into_iter().filter(|(_, prefix)| golden.has(&format!("{prefix}.y"))) {
            let capacity = per_choice(factor, order).of(rows as u32, k as u32, count as u32);
            assert_eq!(vec![capacity], golden.indices("capacity"), "{file}");
            check_order(file, &golden, (order, prefix), k, capacity);
        }
    }
}

/// (n, E, k, factor) to C, as GShard, Switch and ST-MoE have them.
#[test]
fn capacities_of_papers() {
    for (n, e, k, factor, c) in [
        (1024, 64, 2, 1.25, 40),
        (1024, 64, 2, 2.0, 64),
        (4096, 64, 2, 1.25, 160),
        (1000, 48, 2, 1.25, 53),
        (512, 32, 1, 1.0, 16),
        (1, 64, 2, 1.0, 1),
        // 1.1 is no f32, and the product no fraction above 11.
        (100, 10, 1, 1.1, 11),
    ] {
        let capacity = per_choice(factor, GrantOrder::ChoiceMajor);
        assert_eq!(capacity.of(n, k, e), c, "{n} tokens, {k} of {e}, {factor}");
        // Of the other convention, a factor of 2 for two choices is 1 of this.
        let per_token = Capacity { share: Share::PerToken, factor: factor * k as f32, ..capacity };
        assert!(per_token.of(n, k, e).abs_diff(c) <= 1, "{n} tokens, {k} of {e}, {factor}");
    }
}

/// Kernels compute a fraction in u32, the reference in u64.
#[test]
fn shares_are_capacities() {
    let expert = FeedForward::plain(8, Activation::Relu);
    for factor in [0.001, 0.25, 0.5, 1.0, 1.001, 1.25, 1.333, 2.0, 7.7, 100.0] {
        for share in [Share::PerChoice, Share::PerToken] {
            for (count, k) in [(1, 1), (3, 2), (8, 2), (64, 8), (128, 1), (1000, 7), (1024, 16)] {
                let capacity = Capacity { share, ..per_choice(factor, GrantOrder::TokenMajor) };
                let routing = Routing::softmax_topk(true);
                let experts = Experts { capacity: Some(capacity), ..Experts::new(count, k, routing, expert) };
                let Ok(Some(found)) = experts.share() else { continue };
                for n in [1, 2, 7, 64, 255, 256, 1000, 4096, 100_000, 1 << 20] {
                    let expected = capacity.of(n, k, count).min(n);
                    assert_eq!(found.of(n), expected, "{n} tokens, {k} of {count}, {factor}, {share:?}");
                }
            }
        }
    }
    assert!(ExpertShare::new(1001, 1, 1024, true).is_ok());
    assert!(ExpertShare::new(999_999, 997, 1023, true).is_err(), "a fraction that overflows");
}

#[test]
fn uniform_routers_drop_as_expected() {
    for (n, e, k, factor, percent) in UNIFORM {
        let capacity = per_choice(factor, GrantOrder::ChoiceMajor);
        let (mut dropped, mut slots) = (0, 0);
        for seed in 0..150 {
            let routes = uniform_routes(n, e, k, seed);
            let queue = queue(capacity.order, &routes.weights, k);
            let plan =
                plan_within(&routes.experts, &queue, [e, k], capacity.of(n as u32, k as u32, e as u32));
            dropped += plan.slots.iter().filter(|slot| **slot == NONE).count();
            slots += plan.slots.len();
        }
        assert_dropped(&format!("{n} tokens, {k} of {e}, {factor}"), dropped, slots, percent);
    }
}

/// A permutation of what is kept, stable, complete, within capacity.
#[test]
fn plans_keep_what_fits() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut below = |most: u64| (random.bits() % most) as usize;
        let (rows, count) = (1 + below(40), 1 + below(9));
        let k = 1 + below(count as u64);
        let capacity = 1 + below(12) as u32;
        let order = [GrantOrder::ChoiceMajor, GrantOrder::TokenMajor, GrantOrder::Priority][below(3)];
        let logits = random.gaussian(rows * count);
        let routes = Router::new(Routing::softmax_topk(false), count, k).route(&logits);
        let queue = queue(order, &routes.weights, k);
        let found = plan_within(&routes.experts, &queue, [count, k], capacity);
        let all = plan(&routes.experts, count, k);
        for e in 0..count {
            assert_eq!(found.counts[e], all.counts[e].min(capacity), "seed {seed}, expert {e}");
        }
        let mut places: Vec<u32> = found.slots.iter().copied().filter(|slot| *slot != NONE).collect();
        places.sort_unstable();
        assert_eq!(places, (0..found.tokens.len() as u32).collect::<Vec<_>>(), "seed {seed}");
        // Those of an expert are granted in the order of the queue, and none before one that is kept.
        for expert in 0..count as u32 {
            let of_expert: Vec<u32> = queue
                .iter()
                .filter(|slot| routes.experts[**slot] == expert)
                .map(|s| found.slots[*s])
                .collect();
            let first = found.offsets[expert as usize];
            let expected = (0..of_expert.len() as u32)
                .map(|n| if n < found.counts[expert as usize] { first + n } else { NONE });
            assert_eq!(of_expert, expected.collect::<Vec<_>>(), "seed {seed}, expert {expert}");
        }
    }
}

/// Experts that give back what they are given: what is not dropped comes back, weights adding up to 1.
#[test]
fn identity_experts_return_the_input() {
    let (rows, count, k, d) = (50, 6, 2, 5);
    let mut random = Random::new(4);
    let (x, logits) = (random.gaussian(rows * d), random.gaussian(rows * count));
    let routes = Router::new(Routing::softmax_topk(true), count, k).route(&logits);
    for capacity in [u32::MAX, 9] {
        let queue = queue(GrantOrder::TokenMajor, &routes.weights, k);
        let plan = plan_within(&routes.experts, &queue, [count, k], capacity);
        let outputs: Vec<f32> =
            plan.tokens.iter().flat_map(|t| &x[*t as usize * d..][..d]).copied().collect();
        let found = combine(&outputs, &plan.slots, &routes.weights, k, d);
        for (token, slots) in plan.slots.chunks(k).enumerate() {
            let kept: f32 = slots
                .iter()
                .zip(&routes.weights[token * k..])
                .filter(|(slot, _)| **slot != NONE)
                .map(|(_, weight)| weight)
                .sum();
            let expected: Vec<f32> = x[token * d..][..d].iter().map(|x| kept * x).collect();
            assert_close(
                &format!("token {token}"),
                &found[token * d..][..d],
                &expected,
                Tolerance::Mixed(1e-6, 1e-6),
            );
        }
    }
}
