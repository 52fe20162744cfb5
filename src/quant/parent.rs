//! The 8-bit parent of every integer format, and slicing it.

use half::f16;

use super::{Clip, Codes, QuantBlock, ScaleFormat};
use crate::{Error, Result};

/// A matrix quantized to 8 bits, from which codes of fewer bits are sliced (arXiv 2502.06786, section 3).
///
/// Per block of a row: `scale = (max - min) / 255`, `zero = -min / scale` (real, not rounded) and
/// `code = clamp(floor(w / scale + zero + 1/2), 0, 255)`. A block whose weights are all the same has scale 1,
/// codes 0 and `zero = -min`, which gives the weight back exactly. With a [`Clip`], `gamma max` stands for `max` and
/// `beta min` for `min`, but in blocks whose weights are all the same.
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

/// How weights become a [`Parent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantizer {
    /// Inputs that share a scale and a zero point.
    pub block: QuantBlock,
    /// What scales and zero points are rounded to before codes are chosen, so that codes fit what will be stored.
    pub scales: ScaleFormat,
}

impl Quantizer {
    /// Quantizes `weights`, `[rows, cols]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length is not `rows * cols`, [`Error::NotFinite`] for a weight that is NaN or
    /// infinite, [`Error::TensorMismatch`] for a block whose scale f16 cannot hold, [`Error::Unsupported`] for a block
    /// no kernel reads.
    pub fn quantize(&self, weights: &[f32], rows: usize, cols: usize) -> Result<Parent> {
        self.quantize_clipped(weights, rows, cols, &[])
    }

    /// The same with codes that reach as far as `clips` say: `[rows]`, or `[rows, blocks]`, or none at all.
    ///
    /// # Errors
    /// As [`Quantizer::quantize`]; [`Error::Shape`] for another number of clips, [`Error::TensorMismatch`] for one that
    /// leaves codes nothing to reach over.
    pub fn quantize_clipped(
        &self,
        weights: &[f32],
        rows: usize,
        cols: usize,
        clips: &[Clip],
    ) -> Result<Parent> {
        self.block.validate()?;
        check(weights, rows, cols)?;
        let blocks = self.block.count(cols);
        if ![0, rows, rows * blocks].contains(&clips.len()) {
            let expected = format!("{rows} or {rows} x {blocks}");
            return Err(Error::shape("quantize", "clips", expected, clips.len()));
        }
        let clip = |row: usize, block: usize| match clips.len() {
            0 => Clip::NONE,
            n if n == rows => clips[row],
            _ => clips[row * blocks + block],
        };
        let mut parent = Parent {
            rows,
            cols,
            block: self.block,
            codes: Vec::with_capacity(weights.len()),
            scale: vec![],
            zero: vec![],
        };
        // Chunks of nothing do not exist; a matrix without columns has no rows to visit either.
        for (r, row) in weights.chunks_exact(cols.max(1)).enumerate() {
            for (b, weights) in row.chunks(self.block.len(cols)).enumerate() {
                let (scale, zero) = self.scale_and_zero(weights, clip(r, b), parent.codes.len())?;
                let code = |w: f32| f64::from(w) / f64::from(scale) + f64::from(zero) + 0.5;
                // The cast truncates and saturates: floor and clamp in one for values from 0 up.
                parent.codes.extend(weights.iter().map(|&w| code(w).max(0.0) as u8));
                parent.scale.push(scale);
                parent.zero.push(zero);
            }
        }
        Ok(parent)
    }

    /// Scale and zero point of one block, which begins at element `at`.
    fn scale_and_zero(&self, weights: &[f32], clip: Clip, at: usize) -> Result<(f32, f32)> {
        let (min, max) = weights.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &w| (lo.min(w), hi.max(w)));
        let [low, high] = clip.ends(min, max);
        let scale = ((high - low) / 255.0) as f32;
        if min < max && (high <= low || !scale.is_finite()) {
            return Err(Error::TensorMismatch {
                name: format!("weights, the block at element {at}"),
                expected: "a gamma * max above beta * min".into(),
                found: format!("{} * {max} and {} * {min}", clip.gamma, clip.beta),
            });
        }
        // A constant block, or one whose spread is below the smallest f32.
        let (scale, low) = if min == max || scale == 0.0 { (1.0, f64::from(min)) } else { (scale, low) };
        match self.scales {
            ScaleFormat::F32 => Ok((scale, (-low / f64::from(scale)) as f32)),
            ScaleFormat::F16 => in_f16(scale, low).ok_or_else(|| Error::TensorMismatch {
                name: format!("weights, the block at element {at}"),
                expected: format!("a scale of at most {}, the largest f16", f16::MAX),
                found: scale.to_string(),
            }),
        }
    }
}

/// The least f16 scale that reaches over the block, whose codes begin at `low`, and leaves a zero point that f16 holds,
/// with that zero point.
fn in_f16(scale: f32, low: f64) -> Option<(f32, f32)> {
    let least = scale.max((low.abs() / f16::MAX.to_f64()) as f32);
    let nearest = f16::from_f32(least);
    let above = if nearest.to_f32() < least { f16::from_bits(nearest.to_bits() + 1) } else { nearest };
    let scale = above.max(f16::MIN_POSITIVE_SUBNORMAL);
    let zero = f16::from_f64(-low / f64::from(scale));
    (scale.is_finite() && zero.is_finite()).then_some((scale.to_f32(), zero.to_f32()))
}

impl Parent {
    /// Quantizes `weights`, `[rows, cols]`, with scales in f32.
    ///
    /// # Errors
    /// As [`Quantizer::quantize`].
    pub fn quantize(weights: &[f32], rows: usize, cols: usize, block: QuantBlock) -> Result<Self> {
        Quantizer { block, scales: ScaleFormat::F32 }.quantize(weights, rows, cols)
    }

    /// The weights that the slices of a width stand for, `[rows, cols]`: `(S - zero) * scale` in f32, where `S` is
    /// the slice on the 8-bit scale. A kernel does the same arithmetic.
    pub fn dequantize(&self, codes: Codes) -> Vec<f32> {
        let mut weights = Vec::with_capacity(self.codes.len());
        let blocks = self.block.count(self.cols);
        for (r, row) in self.codes.chunks_exact(self.cols.max(1)).enumerate() {
            for (b, block) in row.chunks(self.block.len(self.cols)).enumerate() {
                let at = r * blocks + b;
                let scale_zero = [self.scale[at], self.zero[at]];
                let weight = |&q| dequantize_code(codes.slice(q), codes.width.bits(), scale_zero);
                weights.extend(block.iter().map(weight));
            }
        }
        weights
    }

    /// How many codes a slice with extra precision puts above what its bits hold, as a share: the effective width is
    /// the width and so many bits more (arXiv 2502.06786, section 4).
    pub fn overflow(&self, width: super::Width) -> f64 {
        let exact = Codes { extra_precision: true, ..Codes::sliced(width) };
        let above = self.codes.iter().filter(|&&q| u32::from(exact.slice(q)) >> width.bits() > 0).count();
        above as f64 / self.codes.len().max(1) as f64
    }
}

/// The weight a sliced code stands for.
pub(super) fn dequantize_code(code: u8, bits: u32, [scale, zero]: [f32; 2]) -> f32 {
    let on_parent_scale = u32::from(code) << (8 - bits);
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
        Some(index) => {
            Err(Error::NotFinite { name: "weights".into(), index: index as u64, value: weights[index] })
        }
        None => Ok(()),
    }
}
