use wattle::kernels::expert_plan::MoeSlotParams;
use wattle::kernels::moe_place::MoePlace;
use wattle::reference::moe::plan;

use crate::harness::{Run, span};
use crate::moe::{PLANS, choices, ranks, run_offsets, slot_of_place};

#[test]
fn slots_are_sorted_by_expert_and_keep_their_order() {
    for (rows, experts, k) in PLANS {
        for (case, chosen) in choices(rows, experts, k) {
            let plan = plan(&chosen, experts, k);
            let params = MoeSlotParams { experts: experts as u32, choices: k as u32 };
            let run = Run::new(MoePlace, params, span(5, rows), &case).with("expert_of_slot", &chosen);
            let run = run.with("rank_of_slot", &ranks(&chosen));
            let run = run.with("offsets", &run_offsets(&plan, &chosen)).out("slot_of_place", chosen.len());
            run.go().same("slot_of_place", &slot_of_place(&plan));
        }
    }
}
