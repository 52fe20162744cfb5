use wattle::kernels::expert_plan::{RUN, max_tiles};
use wattle::kernels::moe_scan::{MoeScan, MoeScanParams};
use wattle::reference::moe::plan;

use crate::harness::{Run, span};
use crate::moe::{PLANS, choices, run_offsets, tile_map};

#[test]
fn offsets_and_tiles_are_those_of_the_plan() {
    for (rows, experts, k) in PLANS {
        for (case, chosen) in choices(rows, experts, k) {
            let plan = plan(&chosen, experts, k);
            let counts: Vec<u32> = chosen
                .chunks(RUN as usize)
                .flat_map(|run| wattle::reference::moe::plan(run, experts, 1).counts)
                .collect();
            // One tile more than there can be: it has to be empty.
            let tiles = max_tiles(chosen.len() as u64, experts as u32) as usize + 1;
            let params = MoeScanParams { choices: k as u32, max_tiles: tiles as u32 };
            let run = Run::new(MoeScan { experts: experts as u32 }, params, span(5, rows), &case);
            let run = run.with("counts", &counts).out("offsets", counts.len());
            let found = run.out("tile_map", 4 * tiles).go();
            found.same("offsets", &run_offsets(&plan, &chosen));
            found.same("tile_map", &tile_map(&plan, tiles));
        }
    }
}
