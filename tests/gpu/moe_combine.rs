use wattle::kernels::moe_combine::{MoeCombine, MoeCombineParams};
use wattle::reference::moe::combine;

use crate::bound::{EPS, abs, roundings};
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
            let sums = combine(&outputs, &slots, &weights, k, width);
            let sizes = combine(&abs(&outputs), &slots, &abs(&weights), k, width);
            let residual_at = |i| residual.get(i).copied().unwrap_or(0.0);
            let y: Vec<f32> = sums.iter().enumerate().map(|(i, sum)| residual_at(i) + sum).collect();
            let tolerance = |(i, size): (usize, &f32)| roundings(k) * EPS * (size + residual_at(i).abs());
            let tolerances: Vec<f32> = sizes.iter().enumerate().map(tolerance).collect();
            let params = MoeCombineParams { hidden_size: width as u32, choices: k as u32 };
            let run = Run::new(variant, params, span(5, rows), format_args!("seed {seed}"));
            let run = run.with("expert_rows", &outputs).with("weight_of_slot", &weights).out("y", y.len());
            let run = if variant.residual { run.with("residual", &residual) } else { run };
            run.go().close("y", &y, Tolerance::Each(&tolerances));
        }
    }
}
