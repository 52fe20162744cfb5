use wattle::fragments::Reduce;
use wattle::kernels::expert_plan::{ChosenSlots, ExpertShare, TILE_ROWS};
use wattle::kernels::moe_expert_choice::{MoeExpertChoice, MoeExpertChoiceParams};
use wattle::reference::expert_choice::choose_tokens;
use wattle::reference::expert_plan::NONE;

use crate::harness::{POISON, Run, span};
use crate::select::selected;
use crate::support::golden::Golden;
use crate::support::random::Random;
use crate::transposed::transposed;

/// Expected and found slots of a choice of scores `[rows, E]`: tokens `[E, C]`.
fn check(case: &str, scores: &[f32], rows: usize, slots: ChosenSlots, expected: &[u32]) {
    let (experts, taken) = (slots.experts as usize, slots.share.of(rows as u32) as usize);
    let scores = &transposed(scores, experts)[..];
    let mut slot_of_choice = vec![NONE; experts * rows];
    let mut weights = Vec::new();
    for (slot, &token) in expected.iter().enumerate() {
        let at = slot / taken * rows + token as usize;
        slot_of_choice[at] = slot as u32;
        weights.push(scores[at]);
    }
    // One tile more than there can be: it has to be empty.
    let tiles = slots.tiles(rows as u32) as usize + 1;
    let mut map: Vec<[u32; 4]> = Vec::new();
    for expert in 0..slots.experts {
        for first in (0..taken as u32).step_by(TILE_ROWS as usize) {
            let count = TILE_ROWS.min(taken as u32 - first);
            map.push([expert, expert * taken as u32 + first, count, 0]);
        }
    }
    map.resize(tiles, [0; 4]);
    let params = MoeExpertChoiceParams::new(slots, tiles as u32);
    for variant in selected::<MoeExpertChoice>() {
        let run = Run::new(variant, params, span(4, rows), case).with("scores", scores);
        let run = run.out("slot_of_choice", experts * rows).out("token_of_slot", experts * taken);
        let found = run.out("weight_of_slot", experts * taken).out("tile_map", 4 * tiles).go();
        found.same("token_of_slot", expected);
        found.same("slot_of_choice", &slot_of_choice);
        found.same("weight_of_slot", &weights);
        found.same("tile_map", &map);
    }
}

#[test]
fn experts_take_their_best_tokens() {
    for (seed, (rows, experts, share)) in [
        (1, 1, (1, 1)),
        (1, 64, (1, 64)),
        (37, 8, (1, 8)),
        (65, 5, (1, 2)),
        (255, 4, (1, 4)),
        (257, 7, (2, 7)),
        (600, 3, (3, 3)),
        (33, 512, (1, 256)),
        (1025, 2, (1, 2)),
        (4096, 3, (1, 3)),
    ]
    .into_iter()
    .enumerate()
    {
        let share = ExpertShare { numerator: share.0, denominator: share.1, round: 0 };
        let slots = ChosenSlots { experts, share };
        // Many are equal.
        let random = Random::new(seed as u64).gaussian(rows * experts as usize);
        let scores: Vec<f32> = random.into_iter().map(|x| (8.0 * x.abs()).round() / 32.0).collect();
        let expected = choose_tokens(&scores, experts as usize, share.of(rows as u32) as usize);
        check(&format!("seed {seed}"), &scores, rows, slots, &expected);
    }
}

#[test]
fn choices_are_golden() {
    for (file, factor) in [("moe_expert_choice_cf1", 1), ("moe_expert_choice_cf2", 2)] {
        let golden = Golden::op(file);
        let &[rows, experts] = &golden.shape("probs")[..] else { panic!("{file}: probs is [T,E]") };
        let share = ExpertShare::new(1000 * factor, 1, experts as u32, false).unwrap();
        let slots = ChosenSlots { experts: experts as u32, share };
        assert_eq!(vec![share.of(rows as u32)], golden.indices("capacity"), "{file}");
        // The file has them best first.
        let mut tokens = golden.indices("token_idx");
        tokens.chunks_mut(share.of(rows as u32) as usize).for_each(<[u32]>::sort_unstable);
        check(file, &golden.floats("probs"), rows, slots, &tokens);
    }
}

#[test]
fn scores_that_are_not_above_zero_are_equal() {
    let share = ExpertShare { numerator: 2, denominator: 3, round: 0 };
    let scores = [-1.0, 0.0, 0.25, -0.0, f32::NAN, 0.5];
    check("", &scores, 6, ChosenSlots { experts: 1, share }, &[0, 1, 2, 5]);
}

/// What stands beyond the tokens of a pass is not looked at.
#[test]
fn only_tokens_of_the_pass_are_chosen() {
    let share = ExpertShare { numerator: 1, denominator: 2, round: 0 };
    let scores = [[0.1f32, 0.4, 0.3, 0.2], [0.2, 0.1, 0.3, 0.9]].concat();
    let beyond = [&scores[..], &[f32::from_bits(POISON); 6]].concat();
    let slots = ChosenSlots { experts: 2, share };
    let params = MoeExpertChoiceParams::new(slots, 2);
    let variant = MoeExpertChoice { reduce: Reduce::Workgroup };
    let run = Run::new(variant, params, span(0, 4), "").with("scores", &beyond);
    let run =
        run.out("slot_of_choice", 8).out("token_of_slot", 4).out("weight_of_slot", 4).out("tile_map", 8);
    run.go().same("token_of_slot", &[1, 2, 2, 3]);
}
