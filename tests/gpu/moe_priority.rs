use wattle::kernels::moe_priority::{MoePriority, MoePriorityParams};
use wattle::model::config::GrantOrder;
use wattle::reference::expert_plan::queue;

use crate::harness::{Run, span};
use crate::support::random::Random;

#[test]
fn tokens_are_sorted_by_their_largest_weight() {
    for (seed, (rows, k)) in
        [(1, 1), (2, 3), (63, 2), (255, 1), (256, 2), (257, 4), (600, 2), (263, 7), (301, 64), (9, 100)]
            .into_iter()
            .enumerate()
    {
        let mut random = Random::new(seed as u64);
        // Some weights are equal, and some tokens have none.
        let mut weights: Vec<f32> =
            random.gaussian(rows * k).into_iter().map(|x| (4.0 * x.abs()).round() / 16.0).collect();
        weights.chunks_mut(k).step_by(5).for_each(|of_token| of_token.fill(0.0));
        let queue = queue(GrantOrder::Priority, &weights, k);
        let expected: Vec<u32> = queue[..rows].iter().map(|slot| (slot / k) as u32).collect();
        let params = MoePriorityParams { choices: k as u32 };
        let run = Run::new(MoePriority, params, span(3, rows), format_args!("seed {seed}"));
        let found = run.with("weight_of_slot", &weights).out("token_of_rank", rows).go();
        found.same("token_of_rank", &expected);
    }
}

/// Nothing that is not above 0 is anything, whatever a device makes of the largest of it.
#[test]
fn weights_that_are_not_above_zero_are_alike() {
    let weights = [-1.0, 0.0, -0.0, f32::NAN, 0.25, -3.0, f32::from_bits(0xffc0_0000), 0.5];
    let run = Run::new(MoePriority, MoePriorityParams { choices: 1 }, span(0, weights.len()), "not above 0");
    let found = run.with("weight_of_slot", &weights).out("token_of_rank", weights.len()).go();
    found.same("token_of_rank", &[7, 4, 0, 1, 2, 3, 5, 6]);
}
