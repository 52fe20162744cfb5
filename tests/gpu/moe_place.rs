use wattle::fragments::Queue;
use wattle::kernels::expert_plan::{ExpertShare, MoeSlotParams};
use wattle::kernels::moe_place::MoePlace;
use wattle::reference::expert_plan::{NONE, plan_within};

use crate::harness::{POISON, Run, span};
use crate::moe::{
    PLANS, QUEUES, SHARES, choices, in_queue, ranks, run_offsets, slot_of_place, token_of_rank,
};

/// With and without limits, marked or not, and some choices not used.
#[test]
fn slots_are_sorted_by_expert_and_keep_their_order() {
    for (rows, experts, k) in PLANS {
        for (case, mut chosen) in choices(rows, experts, k) {
            for (n, queue) in QUEUES.into_iter().enumerate() {
                for share in [None, Some(SHARES[n])] {
                    check((rows, experts, k), &case, &chosen, queue, share, share.is_some() || n == 1);
                }
            }
            chosen.iter_mut().skip(1).step_by(3).for_each(|expert| *expert = NONE);
            check((rows, experts, k), &case, &chosen, QUEUES[1], Some(SHARES[1]), true);
            check((rows, experts, k), &case, &chosen, QUEUES[0], None, true);
        }
    }
}

fn check(
    (rows, experts, k): (usize, usize, usize),
    case: &str,
    chosen: &[u32],
    queue: Queue,
    share: Option<ExpertShare>,
    marked: bool,
) {
    let queued = in_queue(queue, chosen, k);
    let capacity = share.map_or(u32::MAX, |share| share.of(rows as u32));
    let plan = plan_within(chosen, &queued, [experts, k], capacity);
    let order: Vec<u32> = queued.iter().map(|slot| chosen[*slot]).collect();
    let mut ranks_of_slots = vec![0; chosen.len()];
    queued.iter().zip(ranks(&order)).for_each(|(slot, rank)| ranks_of_slots[*slot] = rank);
    let params = MoeSlotParams::within(experts as u32, k as u32, share.unwrap_or(ExpertShare::ALL));
    let variant = MoePlace { queue, limited: share.is_some(), marked };
    let run = Run::new(variant, params, span(5, rows), case).with("expert_of_slot", chosen);
    let run = run.with("rank_of_slot", &ranks_of_slots).with("offsets", &run_offsets(&plan, &order));
    let mut run = run.out("slot_of_place", chosen.len());
    if queue == Queue::Priority {
        run = run.with("token_of_rank", &token_of_rank(rows));
    }
    if marked {
        run = run.out("place_of_slot", chosen.len());
    }
    let found = run.go();
    let mut places = slot_of_place(&plan);
    places.resize(chosen.len(), POISON);
    found.same("slot_of_place", &places);
    if marked {
        found.same("place_of_slot", &plan.slots);
    }
}
