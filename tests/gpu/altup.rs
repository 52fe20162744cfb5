use wattle::kernels::altup::{Altup, AltupParams, AltupStep};
use wattle::model::config::{Norm, NormKind};
use wattle::reference::altup::{Mixing, take};
use wattle::reference::norm::norm;

use crate::bound::EPS;
use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

/// A matrix of so many columns in rows that are longer, with what must not be read behind each.
fn padded(matrix: &[f32], cols: usize, stride: usize) -> Vec<f32> {
    let row = |row: &[f32]| [row, &vec![f32::NAN; stride - cols]].concat();
    matrix.chunks(cols).flat_map(row).collect()
}

fn check(variant: Altup, rows: usize, width: usize, seed: u64) {
    let mut random = Random::new(seed);
    let count = variant.streams as usize;
    let active = seed as usize % count;
    let (streams, activated) = (random.gaussian(rows * count * width), random.gaussian(rows * width));
    let weight = random.gaussian(width);
    let scaled = |random: &mut Random, rows: usize, cols: usize| -> Vec<f32> {
        random.gaussian(rows * cols).iter().map(|w| w / (cols as f32).sqrt()).collect()
    };
    let router = scaled(&mut random, count, width);
    let prediction = scaled(&mut random, count * count, count);
    let correction = scaled(&mut random, count, count);
    let stored_scale = random.gaussian(width);
    let (router_stride, mixing_stride) = (width + 3, count + 2);
    let mixing = Mixing { count, active, router: &router, prediction: &prediction, correction: &correction };
    let rms = Norm { kind: NormKind::Rms, eps: 1e-5 };
    let (changed, mut read) = match variant.step {
        AltupStep::Predict => {
            let normed = norm(rms, &take(&streams, count, width, active), &weight, None);
            let changed = mixing.predict(&streams, &normed);
            (changed.clone(), take(&changed, count, width, active))
        }
        AltupStep::Correct { .. } => {
            let changed = mixing.correct(&streams, &activated, &norm(rms, &activated, &weight, None));
            (changed.clone(), take(&changed, count, width, active))
        }
    };
    let is_scaled = variant.step == AltupStep::Correct { scaled: true };
    if is_scaled {
        read.chunks_mut(width).for_each(|row| row.iter_mut().zip(&stored_scale).for_each(|(x, s)| *x *= s));
    }
    // A route is a tanh of a sum over the width, with slope 1 at most; a coefficient is off by no more than the routes are.
    let of_sums = EPS * (16.0 + 2.0 * (width as f32).sqrt()) * (count as f32 + 2.0);
    let most = streams.iter().chain(&activated).fold(0.0f32, |most, x| most.max(x.abs()));
    let most_scale = stored_scale.iter().fold(1.0f32, |most, x| most.max(x.abs()));
    let tolerance = of_sums * most * 8.0;
    let params = AltupParams {
        width: width as u32,
        active_stream: active as u32,
        eps: rms.eps,
        router_stride: router_stride as u32,
        mixing_stride: mixing_stride as u32,
    };
    let run = Run::new(variant, params, span(3, rows), format_args!("seed {seed}"));
    let run = run.with("streams", &streams).with("router_norm", &weight);
    let run = run.with("router", &padded(&router, width, router_stride));
    let run = run.with("mixing", &padded(&[&prediction[..], &correction].concat(), count, mixing_stride));
    let run = if variant.step == AltupStep::Predict { run } else { run.with("activated", &activated) };
    let run = if is_scaled { run.with("stored_scale", &stored_scale) } else { run };
    let found = run.out("changed", changed.len()).out("active_out", read.len()).go();
    found.close("changed", &changed, Tolerance::Mixed(tolerance, 8.0 * EPS));
    found.close("active_out", &read, Tolerance::Mixed(tolerance * most_scale, 8.0 * EPS));
}

#[test]
fn streams_agree_with_the_reference() {
    for variant in selected::<Altup>() {
        for (seed, width) in [1, 3, 63, 64, 257].into_iter().enumerate() {
            check(variant, [1, 3, 2][seed % 3], width, seed as u64);
        }
    }
}
