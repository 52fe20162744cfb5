use wattle::fragments::InputNorm;
use wattle::kernels::stream_add::{StreamAdd, StreamAddParams};

use crate::bound::{EPS, scaled};
use crate::harness::{Run, span};
use crate::linear::{norm_roundings, normed, rows_of_every_size};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

fn check(variant: StreamAdd, rows: usize, width: usize, seed: u64) {
    let mut random = Random::new(seed);
    let count = variant.streams as usize;
    let x = rows_of_every_size(&mut random, rows, width);
    let (weight, streams) = (random.gaussian(2 * width), random.gaussian(rows * count * width));
    let (scale, shift) = weight.split_at(width);
    let (mut y, mut tolerances) = (Vec::new(), Vec::new());
    for (x, streams) in x.chunks(width).zip(streams.chunks(count * width)) {
        let (row, size) = normed(variant.norm, 1e-5, x, scale, shift);
        let error = scaled(norm_roundings(variant.norm, width), &size);
        for (n, stream) in streams.chunks(width).enumerate() {
            let is_first = n == 0;
            y.extend((0..width).map(|i| stream[i] + if is_first { 0.0 } else { row[i] }));
            let most = |i: usize| error[i] + 2.0 * EPS * (stream[i].abs() + row[i].abs());
            tolerances.extend((0..width).map(|i| if is_first { 0.0 } else { most(i) }));
        }
    }
    let params = StreamAddParams { in_features: width as u32, eps: 1e-5 };
    let run = Run::new(variant, params, span(3, rows), format_args!("seed {seed}"));
    let vectors = if variant.norm == InputNorm::Rms { scale } else { &weight };
    let run = run.with("x", &x).with("norm_weight", vectors).with("streams", &streams);
    run.out("y", y.len()).go().close("y", &y, Tolerance::Each(&tolerances));
}

#[test]
fn rows_agree_with_the_reference() {
    for variant in selected::<StreamAdd>() {
        for (seed, width) in [1, 3, 63, 64, 257].into_iter().enumerate() {
            check(variant, [1, 5][seed % 2], width, seed as u64);
        }
    }
}
