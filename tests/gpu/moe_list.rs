use wattle::kernels::moe_list::{MoeList, MoeListParams};
use wattle::reference::expert_plan::NONE;

use crate::harness::{POISON, Run, span};
use crate::support::random::Random;
use crate::transposed::transposed;

#[test]
fn slots_of_a_token_stand_in_the_order_of_experts() {
    for (seed, (rows, experts)) in
        [(1, 1), (3, 64), (63, 2), (64, 8), (65, 5), (257, 3), (2, 512)].into_iter().enumerate()
    {
        let mut random = Random::new(seed as u64);
        let slots: Vec<u32> = (0..rows * experts)
            .map(|n| if random.bits().is_multiple_of(3) { n as u32 } else { NONE })
            .collect();
        let of_token = |slots: &[u32]| {
            let mut list: Vec<u32> = slots.iter().copied().filter(|slot| *slot != NONE).collect();
            let count = list.len() as u32;
            list.resize(experts, POISON);
            (list, count)
        };
        let (lists, counts): (Vec<_>, Vec<_>) = slots.chunks(experts).map(of_token).unzip();
        let slots = transposed(&slots, experts);
        let params = MoeListParams { experts: experts as u32 };
        let run = Run::new(MoeList, params, span(2, rows), format_args!("seed {seed}"));
        let run = run.with("slot_of_choice", &slots).out("slots_of_token", rows * experts);
        let found = run.out("experts_of_token", rows).go();
        found.same("slots_of_token", &lists.concat());
        found.same("experts_of_token", &counts);
    }
}
