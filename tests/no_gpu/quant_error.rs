//! How far quantized Gaussian weights are from the ones they stand for.

use wattle::quant::{Parent, QuantBlock};

use crate::support::random::Random;

const ROWS: usize = 32;
const COLS: usize = 4096;

/// Relative Frobenius error of the codes of each width sliced from an 8-bit parent.
fn errors(block: QuantBlock, widths: &[u32]) -> Vec<f64> {
    let weights = Random::new(5).gaussian(ROWS * COLS);
    let parent = Parent::quantize(&weights, ROWS, COLS, block).unwrap();
    let square = |x: f64| x * x;
    let error = |&bits: &u32| {
        let pairs = weights.iter().zip(parent.dequantize(bits));
        let distance: f64 = pairs.map(|(&w, d)| square(f64::from(d) - f64::from(w))).sum();
        let norm: f64 = weights.iter().map(|&w| square(w.into())).sum();
        (distance / norm).sqrt()
    };
    widths.iter().map(error).collect()
}

fn assert_errors(block: QuantBlock, expected: &[(u32, f64)]) {
    let widths: Vec<u32> = expected.iter().map(|&(bits, _)| bits).collect();
    for (&(bits, expected), found) in expected.iter().zip(errors(block, &widths)) {
        // Two bits put the outermost codes, of which there are few, at the largest distance.
        let tolerance = if bits == 2 { 0.10 } else { 0.05 };
        let off = found / expected - 1.0;
        assert!(off.abs() <= tolerance, "{block:?}, {bits} bits: expected {expected}, found {found:.4}");
    }
}

#[test]
fn slices_per_channel() {
    let expected = [(8, 0.0082), (6, 0.0358), (4, 0.133), (3, 0.264), (2, 0.528)];
    assert_errors(QuantBlock::Channel, &expected);
}

/// Computed apart from this crate, on other random weights, from the same definition.
#[test]
fn slices_per_32_inputs() {
    let expected = [(8, 0.0046), (6, 0.0219), (4, 0.0871), (3, 0.178), (2, 0.374)];
    assert_errors(QuantBlock::Inputs(32), &expected);
}
