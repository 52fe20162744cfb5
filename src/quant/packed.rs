//! A matrix in the words a kernel reads.

use half::f16;

use super::format::{pack_rows, unpack_element};
use super::parent::{check, check_len, dequantize_code};
use super::{Parent, WeightFormat};
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
    /// `(scale, zero)`, `[rows, blocks]`; empty for floats.
    pub scales: Vec<[f32; 2]>,
}

impl PackedMatrix {
    /// Stores `weights`, `[rows, cols]`, in a format.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length is not `rows * cols`, [`Error::NotFinite`] for a weight that is NaN or
    /// infinite, [`Error::TensorMismatch`] for one that f16 cannot hold, [`Error::Unsupported`] for a format no
    /// kernel reads.
    pub fn pack(format: WeightFormat, rows: usize, cols: usize, weights: &[f32]) -> Result<Self> {
        format.validate()?;
        check(weights, rows, cols)?;
        let (words, scales) = match format {
            WeightFormat::F32 => return Self::f32(rows, cols, weights),
            WeightFormat::F16 => {
                let halves = to_f16(weights)?;
                (pack_rows(rows, cols, 16, |i| u32::from(halves[i].to_bits())), vec![])
            }
            WeightFormat::Int(int) => {
                let parent = Parent::quantize(weights, rows, cols, int.block)?;
                (parent.pack(int.width.bits()), parent.scales())
            }
        };
        Ok(Self { format, rows, cols, words, scales })
    }

    /// Stores `weights`, `[rows, cols]`, as they are, NaN and infinities included.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length is not `rows * cols`.
    pub fn f32(rows: usize, cols: usize, weights: &[f32]) -> Result<Self> {
        check_len(weights, rows, cols)?;
        let words = pack_rows(rows, cols, 32, |i| weights[i].to_bits());
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

    fn element(&self, row: usize, col: usize) -> f32 {
        let (bits, row_words) = (self.format.bits(), self.format.row_words(self.cols));
        let code = unpack_element(&self.words[row * row_words..][..row_words], self.cols, bits, col);
        match self.format {
            WeightFormat::F32 => f32::from_bits(code),
            WeightFormat::F16 => f16::from_bits(code as u16).to_f32(),
            WeightFormat::Int(int) => {
                let block = row * int.blocks(self.cols) + col / int.block_len(self.cols);
                dequantize_code(code as u8, bits, self.scales[block])
            }
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
