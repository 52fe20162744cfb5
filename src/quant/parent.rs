//! The 8-bit parent of every integer format, and slicing it.

use super::QuantBlock;
use super::format::pack_rows;
use crate::{Error, Result};

/// A matrix quantized to 8 bits, from which codes of fewer bits are sliced (arXiv 2502.06786, section 3).
///
/// Per block of a row: `scale = (max - min) / 255`, `zero = -min / scale` (real, not rounded) and
/// `code = clamp(floor(w / scale + zero + 1/2), 0, 255)`. A block whose weights are all the same has scale 1,
/// codes 0 and `zero = -min`, which gives the weight back exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Inputs that share a scale and a zero point.
    pub block: QuantBlock,
    /// Codes, `[rows, cols]`.
    pub codes: Vec<u8>,
    /// Steps between neighbouring 8-bit codes, `[rows, blocks]`.
    pub scale: Vec<f32>,
    /// The code, not rounded, of the weight 0, `[rows, blocks]`.
    pub zero: Vec<f32>,
}

impl Parent {
    /// Quantizes `weights`, `[rows, cols]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length is not `rows * cols`, [`Error::NotFinite`] for a weight that is NaN or
    /// infinite, [`Error::Unsupported`] for a block no kernel reads.
    pub fn quantize(weights: &[f32], rows: usize, cols: usize, block: QuantBlock) -> Result<Self> {
        block.validate()?;
        check(weights, rows, cols)?;
        let mut parent =
            Self { rows, cols, block, codes: Vec::with_capacity(weights.len()), scale: vec![], zero: vec![] };
        // Chunks of nothing do not exist; a matrix without columns has no rows to visit either.
        for row in weights.chunks_exact(cols.max(1)) {
            for weights in row.chunks(block.len(cols)) {
                let (scale, zero) = scale_and_zero(weights);
                let code = |w: f32| f64::from(w) / f64::from(scale) + f64::from(zero) + 0.5;
                // The cast truncates and saturates: floor and clamp in one for values from 0 up.
                parent.codes.extend(weights.iter().map(|&w| code(w).max(0.0) as u8));
                parent.scale.push(scale);
                parent.zero.push(zero);
            }
        }
        Ok(parent)
    }

    /// The weights that codes of `bits` bits stand for, `[rows, cols]`: `(S - zero) * scale` in f32, where `S` is
    /// the sliced code on the 8-bit scale. A kernel does the same arithmetic.
    pub fn dequantize(&self, bits: u32) -> Vec<f32> {
        let mut weights = Vec::with_capacity(self.codes.len());
        let blocks = self.block.count(self.cols);
        for (r, row) in self.codes.chunks_exact(self.cols.max(1)).enumerate() {
            for (b, codes) in row.chunks(self.block.len(self.cols)).enumerate() {
                let at = r * blocks + b;
                let scale_zero = [self.scale[at], self.zero[at]];
                weights.extend(codes.iter().map(|&q| dequantize_code(slice_code(q, bits), bits, scale_zero)));
            }
        }
        weights
    }

    /// Sliced codes as words, each row padded with code 0 to 16 bytes.
    pub fn pack(&self, bits: u32) -> Vec<u32> {
        let bits = bits.clamp(1, 8);
        pack_rows(self.rows, self.cols, bits, |i| u32::from(slice_code(self.codes[i], bits)))
    }

    /// `(scale, zero)` of every block, `[rows, blocks]`.
    pub fn scales(&self) -> Vec<[f32; 2]> {
        self.scale.iter().zip(&self.zero).map(|(&scale, &zero)| [scale, zero]).collect()
    }
}

/// The `bits`-bit slice of an 8-bit code: `clamp(floor(code / 2^(8 - bits) + 1/2), 0, 2^bits - 1)`, that is, the
/// top bits plus the next one. `bits` is from 1 to 8; a number outside counts as the nearest inside.
///
/// Always slice the 8-bit parent: slicing a slice rounds twice.
pub fn slice_code(code: u8, bits: u32) -> u8 {
    let bits = bits.clamp(1, 8);
    let half_step = 128 >> bits;
    let rounded = (u16::from(code) + half_step) >> (8 - bits);
    rounded.min(0xff >> (8 - bits)) as u8
}

/// The weight a sliced code stands for.
pub(super) fn dequantize_code(code: u8, bits: u32, [scale, zero]: [f32; 2]) -> f32 {
    let on_parent_scale = u32::from(code) << (8 - bits.clamp(1, 8));
    (on_parent_scale as f32 - zero) * scale
}

/// Checks the length of a matrix.
pub(super) fn check_len(weights: &[f32], rows: usize, cols: usize) -> Result<()> {
    if rows.checked_mul(cols) != Some(weights.len()) {
        let expected = format!("{rows} x {cols} elements");
        return Err(Error::shape("quantize", "weights", expected, weights.len()));
    }
    Ok(())
}

/// Checks the length of a matrix and that every element is finite.
pub(super) fn check(weights: &[f32], rows: usize, cols: usize) -> Result<()> {
    check_len(weights, rows, cols)?;
    match weights.iter().position(|w| !w.is_finite()) {
        Some(index) => Err(Error::NotFinite { name: "weights".into(), index, value: weights[index] }),
        None => Ok(()),
    }
}

/// Scale and zero point of one block.
fn scale_and_zero(weights: &[f32]) -> (f32, f32) {
    let (min, max) = weights.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &w| (lo.min(w), hi.max(w)));
    // In f64: the difference of two large f32 may be infinite in f32.
    let scale = ((f64::from(max) - f64::from(min)) / 255.0) as f32;
    // Zero for a constant block, and for one whose spread is below the smallest f32.
    if scale == 0.0 {
        return (1.0, -min);
    }
    (scale, (-f64::from(min) / f64::from(scale)) as f32)
}
