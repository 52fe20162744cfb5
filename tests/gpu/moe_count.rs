use wattle::kernels::expert_plan::{MoeSlotParams, RUN};
use wattle::kernels::moe_count::MoeCount;

use crate::harness::{Run, span};
use crate::moe::{PLANS, choices, ranks};

#[test]
fn counts_and_ranks_are_those_of_each_run() {
    for (rows, experts, k) in PLANS {
        for (case, chosen) in choices(rows, experts, k) {
            let count = |run: &[u32], e: u32| run.iter().filter(|&&expert| expert == e).count() as u32;
            let expected: Vec<u32> = chosen
                .chunks(RUN as usize)
                .flat_map(|run| (0..experts as u32).map(move |e| count(run, e)))
                .collect();
            let params = MoeSlotParams { experts: experts as u32, choices: k as u32 };
            let variant = MoeCount { experts: experts as u32 };
            let run = Run::new(variant, params, span(5, rows), &case).with("expert_of_slot", &chosen);
            let found = run.out("counts", expected.len()).out("rank_of_slot", chosen.len()).go();
            found.same("counts", &expected);
            found.same("rank_of_slot", &ranks(&chosen));
        }
    }
}
