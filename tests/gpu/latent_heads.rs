use wattle::fragments::{Codec, Reduce};
use wattle::kernels::latent_heads::{LatentHeads, LatentHeadsParams};
use wattle::model::config::{Norm, NormKind, Rope, RopeLayout, RopeScaling};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference::norm::norm;
use wattle::reference::rope::{rotate, tables};

use crate::bound::{EPS, abs, roundings};
use crate::harness::{Run, gpu, span};
use crate::linear::{formats, formats_of, rows_of_every_size};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

const EPSILON: f32 = 1e-5;

/// Heads, elements that are not rotated, that are, of a latent; position, rows, slots of the destination.
type Shape = ([usize; 4], usize, usize, usize);

/// Positions in order, and one that wraps.
const STEPS: [Shape; 4] = [
    ([1, 1, 2, 1], 0, 1, 1),
    ([4, 8, 6, 16], 63, 1, 64),
    ([3, 5, 10, 33], 29, 1, 8),
    ([2, 70, 66, 300], 5, 1, 6),
];
const CHUNKS: [Shape; 5] = [
    ([1, 1, 2, 1], 0, 1, 1),
    ([4, 8, 6, 16], 63, 3, 5),
    ([3, 5, 10, 33], 0, 4, 4),
    ([2, 70, 66, 300], 257, 5, 5),
    ([1, 3, 64, 512], 7, 9, 12),
];

fn check(variant: LatentHeads, format: WeightFormat, shape: Shape, seed: u64) {
    let ([heads, nope, rotary, latent], position, rows, slots) = shape;
    let (head_dim, width) = (nope + rotary, latent + rotary);
    let mut random = Random::new(seed);
    let w = random.gaussian(heads * nope * latent);
    let packed = PackedMatrix::pack(format, heads * nope, latent, &w).unwrap();
    let w = packed.unpack();
    let q = random.gaussian(rows * heads * head_dim);
    let latents = rows_of_every_size(&mut random, rows, width);
    let latent_norm = random.gaussian(latent);

    let layout = if variant.interleaved { RopeLayout::Interleaved } else { RopeLayout::HalfSplit };
    let rope = Rope { theta: 100.0, rotary_dim: rotary as u32, layout, scaling: RopeScaling::None };
    let positions: Vec<u32> = (0..(position + rows) as u32).collect();
    let (cos, sin) = tables(&rope, &positions);
    let table: Vec<[f32; 2]> = cos.iter().zip(&sin).map(|(&cos, &sin)| [cos, sin]).collect();
    // The rotated part of a row, and what its roundings are relative to.
    let turned = |x: &[f32], row: usize| {
        let from = (position + row) * rotary / 2;
        let (cos, sin) = (&cos[from..][..rotary / 2], &sin[from..][..rotary / 2]);
        let mut y = x.to_vec();
        rotate(&rope, &mut y, 1, rotary, cos, sin);
        let largest = abs(x).into_iter().fold(0.0, f32::max);
        (y, vec![8.0 * EPS * largest; rotary])
    };

    let (mut expected, mut tolerances) = (vec![], vec![]);
    for (at, head) in q.chunks(head_dim).enumerate() {
        let matrix = &w[at % heads * nope * latent..][..nope * latent];
        for r in 0..latent {
            let terms = || (0..nope).map(move |i| f64::from(head[i]) * f64::from(matrix[i * latent + r]));
            expected.push(terms().sum::<f64>() as f32);
            // A decoded weight is rounded twice or so.
            tolerances.push((roundings(nope) + 4.0) * EPS * terms().map(f64::abs).sum::<f64>() as f32);
        }
        let (y, tolerance) = turned(&head[nope..], at / heads);
        expected.extend(y);
        tolerances.extend(tolerance);
    }
    let (mut keys, mut key_tolerances) = (vec![f32::NAN; slots * width], vec![0.0; slots * width]);
    for (row, x) in latents.chunks(width).enumerate() {
        let slot = if variant.to_cache { (position + row) % slots } else { row };
        let rms = Norm { kind: NormKind::Rms, eps: EPSILON };
        let normed = norm(rms, &x[..latent], &latent_norm, None);
        let of_norm = normed.iter().map(|y| (8.0 + roundings(latent)) * EPS * y.abs());
        let (y, tolerance) = turned(&x[latent..], row);
        let of_row: Vec<f32> = of_norm.chain(tolerance).collect();
        keys[slot * width..][..width].copy_from_slice(&[normed, y].concat());
        key_tolerances[slot * width..][..width].copy_from_slice(&of_row);
    }

    let params = LatentHeadsParams::new(
        format,
        heads as u32,
        [nope as u32, rotary as u32, latent as u32],
        slots as u32,
        EPSILON,
    );
    let what = format_args!("{format}, {shape:?}, seed {seed}").to_string();
    let run = Run::new(variant, params, span(position, rows), what)
        .with("words", &packed.words)
        .with("q", &q)
        .with("latent", &latents)
        .with("latent_norm", &latent_norm)
        .with("rope_table", &table);
    let run = if variant.codec.is_int() { run.with("scales", &packed.scales) } else { run };
    let found = run.out("q_out", expected.len()).with("k_out", &vec![f32::NAN; keys.len()]).go();
    found.close("q_out", &expected, Tolerance::Each(&tolerances));
    // Other rows of the destination are left alone.
    let is_written = |at: &usize| !keys[*at].is_nan();
    let written: Vec<usize> = (0..keys.len()).filter(is_written).collect();
    let pick = |x: &[f32]| written.iter().map(|at| x[*at]).collect::<Vec<f32>>();
    assert!(
        (0..keys.len()).all(|at| is_written(&at) || found.floats("k_out")[at].is_nan()),
        "{}",
        found.what()
    );
    crate::support::compare::assert_close(
        &format!("{} k_out", found.what()),
        &pick(found.floats("k_out")),
        &pick(&keys),
        Tolerance::Each(&pick(&key_tolerances)),
    );
}

fn shape(variant: LatentHeads, n: usize) -> Shape {
    if variant.to_cache { STEPS[n % STEPS.len()] } else { CHUNKS[n % CHUNKS.len()] }
}

#[test]
fn variants_agree_with_the_reference() {
    for (i, variant) in selected::<LatentHeads>().into_iter().enumerate() {
        let formats = formats_of(variant.codec);
        for seed in [i, i + 3] {
            check(variant, formats[seed % formats.len()], shape(variant, seed), seed as u64);
        }
    }
}

#[test]
fn every_shape_in_every_format() {
    for (i, format) in formats(0).enumerate() {
        let codec = Codec::of(format, gpu().with_baseline(i % 2 == 0).capabilities());
        for to_cache in [false, true] {
            let interleaved = (i % 2 == 0) != to_cache;
            let variant = LatentHeads { codec, interleaved, to_cache, reduce: Reduce::Workgroup };
            check(variant, format, shape(variant, i), i as u64);
        }
    }
}
