use wattle::kernels::moe_combine::{MoeCombine, MoeCombineParams};
use wattle::reference::moe::combine;

use crate::bound::{EPS, abs, exp_roundings, roundings};
use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

#[test]
fn rows_agree_with_the_reference() {
    for variant in selected::<MoeCombine>() {
        for (seed, (rows, width, k)) in
            [(1, 1, 1), (3, 63, 2), (1, 65, 8), (5, 257, 3), (64, 1, 4), (2, 64, 64)].into_iter().enumerate()
        {
            let mut random = Random::new(seed as u64);
            let (outputs, weights) = (random.gaussian(rows * k * width), random.gaussian(rows * k));
            let residual = random.gaussian(if variant.residual { rows * width } else { 0 });
            let slots: Vec<u32> = (0..(rows * k) as u32).collect();
            // Gates stand behind something else.
            let (shared, gates) = (random.gaussian(rows * width), random.gaussian(rows * 3));
            let used = if variant.weighted { weights.clone() } else { vec![1.0; weights.len()] };
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
            let mut run = Run::new(variant, params, span(5, rows), format_args!("seed {seed}"));
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
