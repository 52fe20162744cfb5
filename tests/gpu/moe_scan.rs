use wattle::kernels::expert_plan::{ExpertShare, RUN, max_tiles};
use wattle::kernels::moe_scan::{MoeScan, MoeScanParams};
use wattle::reference::expert_plan::{plan, plan_within};

use crate::harness::{Run, span};
use crate::moe::{PLANS, SHARES, choices, run_offsets, tile_map};

#[test]
fn offsets_and_tiles_are_those_of_the_plan() {
    for (rows, experts, k) in PLANS {
        for (case, chosen) in choices(rows, experts, k) {
            for share in [None, Some(SHARES[0]), Some(SHARES[1]), Some(SHARES[2])] {
                let queue: Vec<usize> = (0..chosen.len()).collect();
                let capacity = share.map_or(u32::MAX, |share: ExpertShare| share.of(rows as u32));
                let limited = plan_within(&chosen, &queue, [experts, k], capacity);
                let counts: Vec<u32> =
                    chosen.chunks(RUN as usize).flat_map(|run| plan(run, experts, 1).counts).collect();
                let most = max_tiles(chosen.len() as u64, experts as u32) as usize;
                let used = tile_map(&limited, most).iter().filter(|tile| tile[2] > 0).count();
                // As many as there are, in no more than there are to be told of; one more than there can be, which has to be empty.
                let tiles = if rows % 2 == 0 { used } else { most + 1 };
                let all = share.unwrap_or(ExpertShare::ALL);
                let params = MoeScanParams::within(k as u32, tiles as u32, all);
                let variant = MoeScan { experts: experts as u32, limited: share.is_some() };
                let run = Run::new(variant, params, span(5, rows), &case);
                let run = run.with("counts", &counts).out("offsets", counts.len());
                let entries = tiles.max(most);
                let found = run.out("tile_map", 4 * entries).go();
                found.same("offsets", &run_offsets(&limited, &chosen));
                let map = found.words("tile_map")[..4 * tiles].to_vec();
                assert_eq!(map, tile_map(&limited, tiles).concat(), "{case}, {tiles} tiles");
            }
        }
    }
}
