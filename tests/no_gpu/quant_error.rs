//! How far quantized Gaussian weights are from the ones they stand for: relative Frobenius errors.

use wattle::quant::{Codes, Parent, QuantBlock, Width};

use crate::support::random::Random;

const ROWS: usize = 32;
const COLS: usize = 4096;
const WIDTHS: [Width; 5] = [Width::Int8, Width::Int6, Width::Int4, Width::Int3, Width::Int2];

fn weights() -> Vec<f32> {
    Random::new(5).gaussian(ROWS * COLS)
}

fn parent(block: QuantBlock) -> Parent {
    Parent::quantize(&weights(), ROWS, COLS, block).unwrap()
}

fn assert_errors(what: &str, expected: [f64; 5], quantized: impl Fn(Width) -> Vec<f32>) {
    let weights = weights();
    let square = |x: f64| x * x;
    let norm: f64 = weights.iter().map(|&w| square(w.into())).sum();
    for (width, expected) in WIDTHS.into_iter().zip(expected) {
        let pairs = weights.iter().zip(quantized(width));
        let distance: f64 = pairs.map(|(&w, d)| square(f64::from(d) - f64::from(w))).sum();
        let found = (distance / norm).sqrt();
        // Two bits put the outermost codes, of which there are few, at the largest distance.
        let tolerance = if width == Width::Int2 { 0.10 } else { 0.05 };
        let off = found / expected - 1.0;
        assert!(off.abs() <= tolerance, "{what}, {width}: expected {expected}, found {found:.4}");
    }
}

#[test]
fn slices_per_channel() {
    let parent = parent(QuantBlock::Channel);
    assert_errors("sliced", [0.0082, 0.0358, 0.133, 0.264, 0.528], |width| {
        parent.dequantize(Codes::sliced(width))
    });
}

#[test]
fn slices_with_extra_precision() {
    let parent = parent(QuantBlock::Channel);
    assert_errors("extra precision", [0.0082, 0.0358, 0.132, 0.263, 0.524], |width| {
        parent.dequantize(Codes { extra_precision: true, ..Codes::sliced(width) })
    });
    for (width, expected) in WIDTHS.into_iter().zip([0.0, 0.0003, 0.0005, 0.0010, 0.0041]) {
        let found = parent.overflow(width);
        // The table has one digit; a handful of codes in 131 072 make the smallest.
        assert!((found - expected).abs() <= 0.3 * expected + 0.0001, "{width}: {expected}, found {found:.5}");
    }
}

/// Computed apart from this crate, on other random weights, from the same definition.
#[test]
fn slices_per_32_inputs() {
    let parent = parent(QuantBlock::Inputs(32));
    assert_errors("32 inputs", [0.0046, 0.0219, 0.0871, 0.178, 0.374], |width| {
        parent.dequantize(Codes::sliced(width))
    });
}

/// What slicing is held against, and no part of this crate: codes of a width chosen for it alone, and slices that drop
/// the lower bits without rounding.
#[test]
fn other_ways_to_quantize() {
    assert_errors("own codes", [0.0082, 0.0333, 0.140, 0.299, 0.712], |width| min_max(width, COLS));
    assert_errors("own codes, 32 inputs", [0.0046, 0.0186, 0.078, 0.168, 0.393], |width| min_max(width, 32));
    let parent = parent(QuantBlock::Channel);
    assert_errors("truncated", [0.0082, 0.0539, 0.250, 0.513, 1.039], |width| {
        let below = 8 - width.bits();
        let codes = parent.codes.iter().map(|q| q >> below << below).collect();
        Parent { codes, ..parent.clone() }.dequantize(Codes::sliced(Width::Int8))
    });
}

fn min_max(width: Width, block: usize) -> Vec<f32> {
    let quantize = |weights: &[f32]| {
        let (min, max) = weights.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &w| (lo.min(w), hi.max(w)));
        let step = (max - min) / ((1 << width.bits()) - 1) as f32;
        weights.iter().map(|w| ((w - min) / step).round() * step + min).collect::<Vec<_>>()
    };
    weights().chunks(block).flat_map(quantize).collect()
}
