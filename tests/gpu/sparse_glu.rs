use wattle::fragments::Activate;
use wattle::kernels::sparse_glu::{SparseGlu, SparseGluParams};
use wattle::model::config::Activation;
use wattle::reference::activation::gated;
use wattle::reference::sparse_gate::sparse_gate;

use crate::bound::EPS;
use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

fn check(variant: SparseGlu, rows: usize, width: usize, deviations: f32, seed: u64) {
    let activation = match variant.activate {
        Activate::Relu => Activation::Relu,
        Activate::Relu2 => Activation::Relu2,
        Activate::Silu => Activation::Silu,
        Activate::GeluTanh => Activation::GeluTanh,
        Activate::GeluErf => Activation::GeluErf,
        other => panic!("{other:?}"),
    };
    let mut random = Random::new(seed);
    let pairs = random.gaussian(2 * rows * width);
    let of = |first: usize| -> Vec<f32> { pairs.iter().skip(first).step_by(2).copied().collect() };
    let (gate, up) = (of(0), of(1));
    let kept = sparse_gate(&gate, width, deviations);
    let y = gated(activation, &kept, &up);
    // The cutoff is off by what a sum over the row is; activations have slopes below 1.2, the square twice its argument.
    let most = gate.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let off = EPS * (8.0 + (width as f32).sqrt()) * most * (2.0 + deviations.abs());
    let tolerance = |(kept, up): (&f32, &f32)| {
        let slope = if activation == Activation::Relu2 { 2.0 * (kept + off) } else { 1.2 };
        (slope * off + 16.0 * EPS * kept.abs().max(kept * kept) + 1e-7 * kept) * up.abs()
    };
    let tolerances: Vec<f32> = kept.iter().zip(&up).map(tolerance).collect();
    let params = SparseGluParams { width: width as u32, deviations };
    let run = Run::new(variant, params, span(3, rows), format_args!("seed {seed}"));
    run.with("pairs", &pairs).out("y", y.len()).go().close("y", &y, Tolerance::Each(&tolerances));
}

#[test]
fn rows_agree_with_the_reference() {
    for variant in selected::<SparseGlu>() {
        for (seed, width) in [1, 3, 64, 257, 1030].into_iter().enumerate() {
            check(variant, [1, 4][seed % 2], width, [1.6449, 0.0, -0.5][seed % 3], seed as u64);
        }
    }
}
