use wattle::fragments::TokenIds;
use wattle::kernels::moe_lookup::{MoeLookup, MoeLookupParams};
use wattle::reference::lookup::{looked_up, random_experts};

use crate::harness::{Run, in_other_order, span};
use crate::support::random::Random;

const KEYS: u32 = 11;

#[test]
fn experts_are_those_of_the_table_or_of_chance() {
    for (seed, (rows, experts, k)) in
        [(1, 1, 1), (5, 8, 2), (64, 3, 3), (65, 64, 1), (120, 7, 4)].into_iter().enumerate()
    {
        let mut random = Random::new(seed as u64);
        let table: Vec<f32> =
            (0..KEYS as usize * k).map(|_| (random.bits() % experts as u64) as f32).collect();
        let ids: Vec<u32> = (0..rows).map(|_| (random.bits() % u64::from(KEYS)) as u32).collect();
        let task = KEYS - 1 - seed as u32;
        let positions: Vec<u32> = (9..9 + rows as u32).collect();
        let params = MoeLookupParams { experts: experts as u32, choices: k as u32, seed: 77 };
        let by_id = [TokenIds::ByRow, TokenIds::BySequence].map(MoeLookup::Token);
        for variant in by_id.into_iter().chain([MoeLookup::Task, MoeLookup::Random]) {
            let run = Run::new(variant, params, span(9, rows), format_args!("seed {seed}"));
            let run = run.out("expert_of_slot", rows * k).out("weight_of_slot", rows * k);
            let (run, expected) = match variant {
                MoeLookup::Token(TokenIds::BySequence) => {
                    let reversed: Vec<u32> = ids.iter().rev().copied().collect();
                    let run = run.sequences(in_other_order(9, rows)).with("token_ids", &reversed);
                    (run.with("expert_table", &table), looked_up(&table, &ids, k))
                }
                MoeLookup::Token(TokenIds::ByRow) => {
                    (run.with("token_ids", &ids).with("expert_table", &table), looked_up(&table, &ids, k))
                }
                MoeLookup::Task => {
                    (run.task(task).with("expert_table", &table), looked_up(&table, &vec![task; rows], k))
                }
                MoeLookup::Random => (run, random_experts(77, &positions, experts as u32, k as u32)),
            };
            let found = run.go();
            found.same("expert_of_slot", &expected);
            found.same("weight_of_slot", &vec![1.0 / k as f32; rows * k]);
        }
    }
}
