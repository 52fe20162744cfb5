//! Weights from a checkpoint.

use std::collections::HashMap;
use std::ops::Range;

use super::{Contents, parent_of};
use crate::model::checkpoint::TensorData;
use crate::model::config::NormKind;
use crate::model::layout::{Matrix, Vectors};
use crate::model::slot::{Part, Slot};
use crate::model::source::Source;
use crate::quant::{PackedMatrix, WeightFormat};
use crate::{Error, Result};

/// Reads fused rows from the tensors they come from, each looked up and checked once.
pub(in crate::model) struct StoredWeights<'a> {
    source: &'a Source,
    check: bool,
    /// The matrix at hand, and its tensors.
    matrix: String,
    open: HashMap<Slot, TensorData<'a>>,
}

impl<'a> StoredWeights<'a> {
    /// The weights of a checkpoint; with `check`, NaN and infinite ones are refused.
    pub(in crate::model) fn new(source: &'a Source, check: bool) -> Self {
        Self { source, check, matrix: String::new(), open: HashMap::new() }
    }

    fn tensor(&mut self, matrix: &Matrix, slot: Slot) -> Result<&TensorData<'a>> {
        if self.matrix != matrix.name {
            self.matrix.clone_from(&matrix.name);
            self.open.clear();
        }
        if !self.open.contains_key(&slot) {
            let rows = matrix.source.rows_of(slot, matrix.rows) as usize;
            let shape = match slot.part {
                Part::Weight => vec![rows, matrix.cols as usize],
                Part::Bias => vec![rows],
            };
            let tensor = self.read(slot, &shape)?;
            // Tensors of an expert gone by are not read again.
            self.open.retain(|open, _| open.place == slot.place);
            self.open.insert(slot, tensor);
        }
        self.open.get(&slot).ok_or_else(|| Error::MissingTensor { name: matrix.name.clone() })
    }

    fn read(&self, slot: Slot, shape: &[usize]) -> Result<TensorData<'a>> {
        let tensor = self.source.checkpoint.tensor(&self.source.naming.tensor_name(slot), shape)?;
        if self.check {
            tensor.check_finite()?;
        }
        Ok(tensor)
    }

    /// Packing knows no tensor names, and counts from the beginning of the piece.
    fn named(&self, error: Error, matrix: &Matrix, first_row: u32) -> Error {
        let locate = |row: u32| {
            let (slot, at) = matrix.locate(row);
            (self.source.naming.tensor_name(slot), at as usize)
        };
        match error {
            Error::TensorMismatch { expected, found, .. } => {
                Error::TensorMismatch { name: locate(first_row).0, expected, found }
            }
            Error::NotFinite { index, value, .. } => {
                let cols = matrix.cols as usize;
                let (name, row) = locate(first_row + (index / cols) as u32);
                Error::NotFinite { name, index: row * cols + index % cols, value }
            }
            other => other,
        }
    }
}

impl Contents for StoredWeights<'_> {
    fn rows(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<PackedMatrix> {
        let (count, cols) = (rows.len(), matrix.cols as usize);
        let mut data = vec![0.0; count * cols];
        for (row, out) in rows.clone().zip(data.chunks_exact_mut(cols)) {
            let (slot, at) = matrix.locate(row);
            let first = at as usize * cols;
            self.tensor(matrix, slot)?.read_f32(first..first + cols, out)?;
        }
        let packed = match parent_of(matrix.format) {
            // What need not be finite is stored as it is.
            WeightFormat::F32 if !self.check => PackedMatrix::f32(count, cols, &data),
            format => PackedMatrix::pack(format, count, cols, &data),
        };
        packed.map_err(|error| self.named(error, matrix, rows.start))
    }

    fn biases(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<Vec<f32>> {
        let mut data = vec![0.0; rows.len()];
        for (row, out) in rows.zip(data.chunks_exact_mut(1)) {
            let (slot, at) = matrix.locate(row);
            self.tensor(matrix, slot.its_bias())?.read_f32(at as usize..at as usize + 1, out)?;
        }
        Ok(data)
    }

    /// `1 + w` where the norm stores an offset; shifts of zero where a LayerNorm stores none.
    fn norm(&mut self, norm: &Vectors) -> Result<Vec<f32>> {
        let width = norm.width as usize;
        let mut data = Vec::with_capacity(norm.vectors() as usize * width);
        for slot in &norm.slots {
            let mut weight = self.read(*slot, &[width])?.to_f32();
            if norm.norm.kind == NormKind::RmsUnitOffset {
                weight.iter_mut().for_each(|w| *w += 1.0);
            }
            data.append(&mut weight);
        }
        match norm.norm.kind {
            NormKind::Rms | NormKind::RmsUnitOffset => {}
            NormKind::LayerNorm => data.resize(data.len() + norm.slots.len() * width, 0.0),
            NormKind::LayerNormBias => {
                for slot in &norm.slots {
                    data.append(&mut self.read(slot.its_bias(), &[width])?.to_f32());
                }
            }
        }
        Ok(data)
    }
}
