use wattle::kernels::expert_plan::{ChosenSlots, ExpertShare};
use wattle::kernels::moe_combine::{CombineSlots, MoeCombine, MoeCombineParams};
use wattle::reference::expert_plan::{NONE, combine};

use crate::bound::{EPS, abs, exp_roundings, roundings};
use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

/// The slots of each token, `[rows, k]`: its own, some of them missing; or lists of any, of different lengths.
fn slots(kind: CombineSlots, rows: usize, k: usize, random: &mut Random) -> Vec<u32> {
    let mut slots: Vec<u32> = (0..(rows * k) as u32).collect();
    match kind {
        CombineSlots::All => {}
        CombineSlots::Placed => {
            slots.iter_mut().filter(|_| random.bits().is_multiple_of(3)).for_each(|s| *s = NONE)
        }
        CombineSlots::Listed(_) => {
            slots.reverse();
            for list in slots.chunks_mut(k) {
                let length = (random.bits() % (k as u64 + 1)) as usize;
                list[length..].fill(NONE);
            }
        }
    }
    slots
}

/// The same with as many slots of experts as a test has: `k` experts that take every token.
fn sized(kind: CombineSlots, rows: usize, k: usize) -> CombineSlots {
    match kind {
        CombineSlots::Listed(_) => {
            let chosen = ChosenSlots { experts: k as u32, share: ExpertShare::ALL };
            assert_eq!(chosen.of(rows as u32) as usize, rows * k);
            CombineSlots::Listed(chosen)
        }
        other => other,
    }
}

#[test]
fn rows_agree_with_the_reference() {
    for variant in selected::<MoeCombine>() {
        for (seed, (rows, width, k)) in
            [(1, 1, 1), (3, 63, 2), (1, 65, 8), (5, 257, 3), (64, 1, 4), (2, 64, 64)].into_iter().enumerate()
        {
            let mut random = Random::new(seed as u64);
            let (outputs, weights) = (random.gaussian(rows * k * width), random.gaussian(rows * k));
            let residual = random.gaussian(if variant.residual { rows * width } else { 0 });
            let slots = slots(variant.slots, rows, k, &mut random);
            // Gates stand behind something else.
            let (shared, gates) = (random.gaussian(rows * width), random.gaussian(rows * 3));
            let used = if variant.weighted { weights.clone() } else { vec![1.0; weights.len()] };
            // Weights are those of slots.
            let of = |slot: &u32| if *slot == NONE { 0.0 } else { used[*slot as usize] };
            let used: Vec<f32> = slots.iter().map(of).collect();
            let sums = combine(&outputs, &slots, &used, k, width);
            let sizes = combine(&abs(&outputs), &slots, &abs(&used), k, width);
            let beside = |i: usize| {
                let gate = f64::from(gates[i / width * 3 + 2]);
                let shared = f64::from(shared[i]) / (1.0 + (-gate).exp());
                let shared = if variant.shared { shared as f32 } else { 0.0 };
                (residual.get(i).copied().unwrap_or(0.0), shared)
            };
            let y = |(i, sum): (usize, &f32)| beside(i).0 + beside(i).1 + sum;
            let y: Vec<f32> = sums.iter().enumerate().map(y).collect();
            let tolerance = |(i, size): (usize, &f32)| {
                let (residual, shared) = beside(i);
                let of_gate = exp_roundings(gates[i / width * 3 + 2]) * shared.abs();
                EPS * (roundings(k + 1) * (size + residual.abs() + shared.abs()) + of_gate)
            };
            let tolerances: Vec<f32> = sizes.iter().enumerate().map(tolerance).collect();
            let params = MoeCombineParams {
                hidden_size: width as u32,
                choices: k as u32,
                gate_stride: 3,
                gate_offset: 2,
            };
            // As many slots as there are.
            let variant = MoeCombine { slots: sized(variant.slots, rows, k), ..variant };
            let mut run = Run::new(variant, params, span(5, rows), format_args!("seed {seed}"));
            run = match variant.slots {
                CombineSlots::All => run,
                CombineSlots::Placed => run.with("place_of_slot", &slots),
                CombineSlots::Listed(_) => {
                    let count = |list: &[u32]| list.iter().filter(|slot| **slot != NONE).count() as u32;
                    let counts: Vec<u32> = slots.chunks(k).map(count).collect();
                    run.with("slots_of_token", &slots).with("experts_of_token", &counts)
                }
            };
            run = run.with("expert_rows", &outputs).out("y", y.len());
            if variant.weighted {
                run = run.with("weight_of_slot", &weights);
            }
            if variant.shared {
                run = run.with("shared_rows", &shared).with("gates", &gates);
            }
            if variant.residual {
                run = run.with("residual", &residual);
            }
            run.go().close("y", &y, Tolerance::Each(&tolerances));
        }
    }
}
