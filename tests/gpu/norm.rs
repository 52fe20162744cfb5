use wattle::fragments::InputNorm;
use wattle::kernels::norm::{Norm, NormParams};

use crate::bound::{EPS, scaled};
use crate::harness::{Run, span};
use crate::linear::{norm_roundings, normed, rows_of_every_size};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::golden::Golden;
use crate::support::random::Random;

fn check(variant: Norm, rows: usize, width: usize, eps: f32, seed: u64) {
    let mut random = Random::new(seed);
    let x = rows_of_every_size(&mut random, rows, width);
    let (weight, residual) = (random.gaussian(2 * width), random.gaussian(rows * width));
    let (scale, shift) = weight.split_at(width);
    let stored_scale = random.gaussian(1);
    let factor = if seed % 3 == 1 { 0.7 } else { 1.0 };
    let scale_all = factor * if variant.scaled { stored_scale[0] } else { 1.0 };
    let kept = random.gaussian(rows * width);
    let (mut y, mut tolerances) = (Vec::new(), Vec::new());
    for ((x, residual), kept) in x.chunks(width).zip(residual.chunks(width)).zip(kept.chunks(width)) {
        let (row, size) = normed(variant.norm, eps, x, scale, shift);
        let kept = |i: usize| if variant.kept { kept[i] } else { 0.0 };
        let residual = |i: usize| if variant.residual { residual[i] } else { 0.0 };
        let error = scaled(norm_roundings(variant.norm, width), &size);
        let error =
            |i| scale_all.abs() * (error[i] + 4.0 * EPS * (residual(i).abs() + kept(i).abs() + row[i].abs()));
        tolerances.extend((0..width).map(error));
        y.extend((0..width).map(|i| (residual(i) + kept(i) + row[i]) * scale_all));
    }
    // Several rows of one token by turns.
    let rows_per_token = if seed % 2 == 1 { rows } else { 1 };
    let params = NormParams { in_features: width as u32, eps, rows_per_token: rows_per_token as u32, factor };
    let run = Run::new(variant, params, span(3, rows / rows_per_token), format_args!("seed {seed}"));
    let vectors = if variant.norm == InputNorm::Rms { scale } else { &weight };
    let run = run.with("x", &x).with("norm_weight", vectors).out("y", x.len());
    let run = if variant.residual { run.with("residual", &residual) } else { run };
    let run = if variant.kept { run.with("kept", &kept) } else { run };
    let run = if variant.scaled { run.with("stored_scale", &stored_scale) } else { run };
    run.go().close("y", &y, Tolerance::Each(&tolerances));
}

#[test]
fn rows_agree_with_the_reference() {
    for variant in selected::<Norm>() {
        for (seed, width) in [1, 2, 3, 63, 64, 65, 255, 256, 257, 1029].into_iter().enumerate() {
            check(variant, [1, 5, 7][seed % 3], width, [1e-5, 1e-6][seed % 2], seed as u64);
        }
    }
}

/// More rows than one dimension of a grid has, and a workgroup too many in two.
#[test]
fn workgroups_left_over_by_folding_do_nothing() {
    check(selected::<Norm>()[0], 65_537, 2, 1e-5, 0);
}

#[test]
fn rows_are_golden() {
    let golden = Golden::op("norm");
    for variant in selected::<Norm>().into_iter().filter(|variant| !variant.residual) {
        let names: &[&str] = match variant.norm {
            InputNorm::None | InputNorm::Affine => continue,
            InputNorm::Rms => &["rms", "rms_plus1", "rms_noscale"],
            InputNorm::Layer => &["layernorm", "layernorm_nobias"],
        };
        for (name, width) in names.iter().flat_map(|name| [1, 37, 64, 1023].map(|width| (name, width))) {
            let read = |name: &str| golden.floats(&format!("{name}.{width}"));
            let (scale, shift) = match *name {
                "rms_plus1" => (read("weight_plus1").iter().map(|w| 1.0 + w).collect(), vec![]),
                "rms_noscale" => (vec![1.0; width], vec![]),
                "layernorm" => (read("weight"), read("bias")),
                _ => (read("weight"), vec![0.0; width]),
            };
            let vectors = if variant.norm == InputNorm::Rms { scale } else { [scale, shift].concat() };
            for (suffix, eps) in [("e5", 1e-5), ("e6", 1e-6)] {
                let x = read("x");
                let params = NormParams { in_features: width as u32, eps, rows_per_token: 1, factor: 1.0 };
                let case = format!("{name}.{suffix}.{width}");
                let run = Run::new(variant, params, span(0, x.len() / width), &case);
                let run = run.with("x", &x).with("norm_weight", &vectors).out("y", x.len());
                run.go().close("y", &golden.floats(&case), Tolerance::OfLargest(1e-5));
            }
        }
    }
}
