use wattle::kernels::expert_plan::{MoeSlotParams, RUN};
use wattle::kernels::moe_count::MoeCount;

use crate::harness::{Run, span};
use crate::moe::{PLANS, QUEUES, choices, in_queue, ranks, token_of_rank};

#[test]
fn counts_and_ranks_are_those_of_each_run() {
    for (rows, experts, k) in PLANS {
        for (case, chosen) in choices(rows, experts, k) {
            for queue in QUEUES {
                let queued = in_queue(queue, &chosen, k);
                let order: Vec<u32> = queued.iter().map(|slot| chosen[*slot]).collect();
                let count = |run: &[u32], e: u32| run.iter().filter(|&&expert| expert == e).count() as u32;
                let expected: Vec<u32> = order
                    .chunks(RUN as usize)
                    .flat_map(|run| (0..experts as u32).map(move |e| count(run, e)))
                    .collect();
                let mut ranks_of_slots = vec![0; chosen.len()];
                queued.iter().zip(ranks(&order)).for_each(|(slot, rank)| ranks_of_slots[*slot] = rank);
                let params = MoeSlotParams::new(experts as u32, k as u32);
                let variant = MoeCount { experts: experts as u32, queue };
                let mut run = Run::new(variant, params, span(5, rows), &case).with("expert_of_slot", &chosen);
                if variant.queue == wattle::fragments::Queue::Priority {
                    run = run.with("token_of_rank", &token_of_rank(rows));
                }
                let found = run.out("counts", expected.len()).out("rank_of_slot", chosen.len()).go();
                found.same("counts", &expected);
                found.same("rank_of_slot", &ranks_of_slots);
            }
        }
    }
}
