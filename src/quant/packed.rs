//! A matrix in the words a kernel reads.

use half::f16;

use super::parent::{check, check_len, dequantize_code};
use super::rows::{pack_rows, unpack_element};
use super::{Clip, IntFormat, Parent, Quantizer, WeightFormat};
use crate::{Error, Result};

/// A weight matrix as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedMatrix {
    /// How it is stored.
    pub format: WeightFormat,
    /// Output channels.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Elements, `[rows, format.row_words(cols)]`; what is past `cols` is zero.
    pub words: Vec<u32>,
    /// Scales and zero points, `[rows, format.scale_words(cols)]`; empty for floats.
    pub scales: Vec<u32>,
}

impl PackedMatrix {
    /// Stores `weights`, `[rows, cols]`, in a format.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length is not `rows * cols`, [`Error::NotFinite`] for a weight that is NaN or
    /// infinite, [`Error::TensorMismatch`] where f16 cannot hold a weight or a scale, [`Error::Unsupported`] for a format no
    /// kernel reads.
    pub fn pack(format: WeightFormat, rows: usize, cols: usize, weights: &[f32]) -> Result<Self> {
        Self::pack_clipped(format, rows, cols, weights, &[])
    }

    /// The same, and integer codes reach as far as `clips` say: `[rows]`, or `[rows, blocks]`, or none at all. Floats
    /// reach everywhere.
    ///
    /// # Errors
    /// As [`PackedMatrix::pack`], and those of [`Quantizer::quantize_clipped`].
    pub fn pack_clipped(
        format: WeightFormat,
        rows: usize,
        cols: usize,
        weights: &[f32],
        clips: &[Clip],
    ) -> Result<Self> {
        format.validate()?;
        check(weights, rows, cols)?;
        let (words, scales) = match format {
            WeightFormat::F32 => return Self::f32(rows, cols, weights),
            WeightFormat::F16 => {
                let halves = to_f16(weights)?;
                let half = |i: usize| u32::from(halves[i].to_bits());
                (pack_rows(rows, cols, format.plane_bits(), half), vec![])
            }
            WeightFormat::Int(int) => {
                let quantizer = Quantizer { block: int.block, scales: int.scales };
                return Ok(Self::of_parent(&quantizer.quantize_clipped(weights, rows, cols, clips)?, int));
            }
        };
        Ok(Self { format, rows, cols, words, scales })
    }

    /// Stores what a format keeps of quantized weights; their blocks are the parent's, whatever the format says.
    pub fn of_parent(parent: &Parent, int: IntFormat) -> Self {
        let int = IntFormat { block: parent.block, ..int };
        let (rows, cols) = (parent.rows, parent.cols);
        let code = |i: usize| int.codes.encode(parent.codes[i]);
        let words = pack_rows(rows, cols, int.codes.planes(), code);
        let blocks = parent.scale.iter().zip(&parent.zero);
        let scales = blocks.flat_map(|(&scale, &zero)| int.scales.encode([scale, zero])).collect();
        Self { format: WeightFormat::Int(int), rows, cols, words, scales }
    }

    /// Stores `weights`, `[rows, cols]`, as they are, NaN and infinities included.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length is not `rows * cols`.
    pub fn f32(rows: usize, cols: usize, weights: &[f32]) -> Result<Self> {
        check_len(weights, rows, cols)?;
        let words = pack_rows(rows, cols, &[32], |i| weights[i].to_bits());
        Ok(Self { format: WeightFormat::F32, rows, cols, words, scales: vec![] })
    }

    /// The weights as a kernel sees them, `[rows, cols]`.
    pub fn unpack(&self) -> Vec<f32> {
        let mut weights = Vec::with_capacity(self.rows * self.cols);
        for row in 0..self.rows {
            weights.extend((0..self.cols).map(|col| self.element(row, col)));
        }
        weights
    }

    /// Scale and zero point of an element's block; `None` in a format that has none.
    pub fn scale_zero(&self, row: usize, col: usize) -> Option<[f32; 2]> {
        let WeightFormat::Int(int) = self.format else { return None };
        let block = row * int.blocks(self.cols) + col / int.block_len(self.cols);
        Some(int.scales.decode(&self.scales[block * int.scales.words()..]))
    }

    fn element(&self, row: usize, col: usize) -> f32 {
        let row_words = self.format.row_words(self.cols);
        let words = &self.words[row * row_words..][..row_words];
        let stored = unpack_element(words, self.cols, self.format.plane_bits(), col);
        match (self.format, self.scale_zero(row, col)) {
            (WeightFormat::Int(int), Some(scale_zero)) => {
                dequantize_code(int.codes.decode(stored), int.codes.width.bits(), scale_zero)
            }
            (WeightFormat::F16, _) => f16::from_bits(stored as u16).to_f32(),
            _ => f32::from_bits(stored),
        }
    }
}

fn to_f16(weights: &[f32]) -> Result<Vec<f16>> {
    let half = |(index, &weight): (usize, &f32)| {
        let half = f16::from_f32(weight);
        match half.is_finite() {
            true => Ok(half),
            false => Err(Error::TensorMismatch {
                name: format!("weights, element {index}"),
                expected: format!("at most {} in magnitude, the largest f16", f16::MAX),
                found: weight.to_string(),
            }),
        }
    };
    weights.iter().enumerate().map(half).collect()
}
