use wattle::kernels::stream_match::{StreamMatch, StreamMatchParams};
use wattle::reference::altup::{matched, mean};

use crate::bound::EPS;
use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

/// Squares below it: one row of projections is that small.
const LEAST: f32 = 1e-5;

fn check(variant: StreamMatch, rows: usize, width: usize, x_stride: usize, seed: u64) {
    let mut random = Random::new(seed);
    let count = variant.streams as usize;
    let x = random.gaussian(rows * x_stride);
    let mut projections = random.gaussian(rows * (count - 1) * width);
    projections.iter_mut().take(width).for_each(|value| *value *= 1e-4);
    let of_row: Vec<f32> = x.chunks(x_stride).flat_map(|row| &row[..width]).copied().collect();
    let of_stream = |n: usize| -> Vec<f32> {
        projections.chunks((count - 1) * width).flat_map(|row| &row[n * width..][..width]).copied().collect()
    };
    let each: Vec<_> = (0..count - 1).map(of_stream).collect();
    let streams = matched(&of_row, &each, width, LEAST);
    let (y, most) = match variant.mean {
        // A mean may cancel.
        true => (mean(&streams, count, width), streams.iter().fold(0.0f32, |most, x| most.max(x.abs()))),
        false => (streams, 0.0),
    };
    let params = StreamMatchParams { width: width as u32, x_stride: x_stride as u32, least_square: LEAST };
    let run = Run::new(variant, params, span(3, rows), format_args!("seed {seed}"));
    let run = run.with("x", &x).with("projections", &projections).out("y", y.len());
    let c = EPS * (16.0 + (width as f32).sqrt());
    run.go().close("y", &y, Tolerance::Mixed(c * most, c));
}

#[test]
fn rows_agree_with_the_reference() {
    for variant in selected::<StreamMatch>() {
        for (seed, width) in [1, 3, 64, 65, 300].into_iter().enumerate() {
            check(variant, [1, 3][seed % 2], width, width + [0, 2][seed % 2], seed as u64);
        }
    }
}
