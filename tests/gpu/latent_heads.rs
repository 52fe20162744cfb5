use wattle::fragments::{CacheFormat, Codec, Reduce};
use wattle::kernels::latent_heads::{LatentHeads, LatentHeadsParams};
use wattle::model::config::{Norm, NormKind, Rope, RopeLayout, RopeScaling};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference::norm::norm;
use wattle::reference::rope::{rotate, tables};

use crate::bound::{EPS, abs, roundings};
use crate::harness::{Run, gpu, span};
use crate::keys::{packed, storing_tolerances, unpacked};
use crate::linear::{formats, formats_of, rows_of_every_size};
use crate::select::selected;
use crate::support::compare::{Tolerance, assert_close};
use crate::support::random::Random;

const EPSILON: f32 = 1e-5;

/// Heads, elements that are not rotated, that are, of a latent; position, rows, slots of the destination.
type Shape = ([usize; 4], usize, usize, usize);

/// Positions in order, and one that wraps.
const STEPS: [Shape; 5] = [
    ([1, 1, 2, 1], 0, 1, 1),
    ([4, 8, 6, 16], 63, 1, 64),
    ([3, 5, 10, 33], 29, 1, 8),
    ([2, 70, 66, 300], 5, 1, 6),
    ([2, 3, 64, 512], 4, 1, 3),
];
const CHUNKS: [Shape; 5] = [
    ([1, 1, 2, 1], 0, 1, 1),
    ([4, 8, 6, 16], 63, 3, 5),
    ([3, 5, 10, 33], 0, 4, 4),
    ([2, 70, 66, 300], 257, 5, 5),
    ([1, 3, 64, 512], 7, 9, 12),
];

fn key_dim(([_, _, rotary, latent], ..): Shape) -> u32 {
    (rotary + latent) as u32
}

fn check(variant: LatentHeads, format: WeightFormat, shape: Shape, seed: u64) {
    let ([heads, nope, rotary, latent], position, rows, slots) = shape;
    let (head_dim, width) = (nope + rotary, latent + rotary);
    let mut random = Random::new(seed);
    let w = random.gaussian(heads * nope * latent);
    let matrix = PackedMatrix::pack(format, heads * nope, latent, &w).unwrap();
    let w = matrix.unpack();
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
        let slot = if variant.to.is_some() { (position + row) % slots } else { row };
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
        .with("words", &matrix.words)
        .with("q", &q)
        .with("latent", &latents)
        .with("latent_norm", &latent_norm)
        .with("rope_table", &table);
    let run = if variant.codec.is_int() { run.with("scales", &matrix.scales) } else { run };
    let stored = variant.to.unwrap_or_default();
    let of_storing = storing_tolerances(stored, &keys, width);
    key_tolerances.iter_mut().zip(of_storing).for_each(|(tolerance, storing)| *tolerance += storing);
    let before = packed(stored, &vec![f32::NAN; keys.len()], width);
    let found = run.out("q_out", expected.len()).with("k_out", &before).go();
    found.close("q_out", &expected, Tolerance::Each(&tolerances));
    // Other rows of the destination are left alone.
    let row_words = before.len() / slots;
    let is_written = |slot: &usize| !keys[slot * width].is_nan();
    for slot in (0..slots).filter(|slot| !is_written(slot)) {
        let words = slot * row_words..(slot + 1) * row_words;
        assert_eq!(found.words("k_out")[words.clone()], before[words], "{}, slot {slot}", found.what());
    }
    let written: Vec<usize> = (0..slots).filter(is_written).collect();
    let pick = |x: &[f32]| written.iter().flat_map(|slot| &x[slot * width..][..width]).copied().collect();
    let (expected, tolerances): (Vec<f32>, Vec<f32>) = (pick(&keys), pick(&key_tolerances));
    let found_keys: Vec<f32> = pick(&unpacked(stored, found.words("k_out"), width));
    let what = format!("{} k_out", found.what());
    assert_close(&what, &found_keys, &expected, Tolerance::Each(&tolerances));
}

fn shapes(to: Option<CacheFormat>) -> [Shape; 5] {
    if to.is_some() { STEPS } else { CHUNKS }
}

#[test]
fn variants_agree_with_the_reference() {
    for (i, variant) in selected::<LatentHeads>().into_iter().enumerate() {
        let formats = formats_of(variant.codec);
        let shapes = shapes(variant.to).into_iter().filter(|shape| key_dim(*shape) == variant.key_dim);
        for (seed, shape) in shapes.enumerate() {
            check(variant, formats[(i + seed) % formats.len()], shape, (i + seed) as u64);
        }
    }
}

#[test]
fn every_shape_in_every_format() {
    for (i, format) in formats(0).enumerate() {
        let codec = Codec::of(format, gpu().with_baseline(i % 2 == 0).capabilities());
        for to in [None, Some(CacheFormat::ALL[i % CacheFormat::ALL.len()])] {
            let interleaved = (i % 2 == 0) != to.is_some();
            let shape = shapes(to)[i % STEPS.len()];
            let key_dim = key_dim(shape);
            let variant = LatentHeads { codec, interleaved, key_dim, to, reduce: Reduce::Workgroup };
            check(variant, format, shape, i as u64);
        }
    }
}
