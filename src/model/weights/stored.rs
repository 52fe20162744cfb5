//! Weights from a checkpoint.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::learned::{Transform, too_large};
use super::{Contents, parent_of};
use crate::model::checkpoint::TensorData;
use crate::model::config::{Norm, NormKind};
use crate::model::layout::{Matrix, Vectors, VectorsKind};
use crate::model::slot::{Part, Role, Slot};
use crate::model::source::Source;
use crate::quant::{Clip, PackedMatrix, WeightFormat};
use crate::reference::relative_bias::by_distance;
use crate::{Error, Result};

/// Reads fused rows from the tensors they come from, each looked up and checked once.
pub(in crate::model) struct StoredWeights<'a> {
    pub(super) source: &'a Source,
    check: bool,
    /// The matrix at hand, and its tensors.
    matrix: String,
    open: HashMap<Slot, TensorData<'a>>,
    /// How far the codes of its tensors reach, `[rows, blocks]`.
    pub(super) clips: HashMap<Slot, Option<Vec<Clip>>>,
    /// How its inputs are transformed, under the name of the vectors.
    pub(super) transform: Option<(String, Arc<Transform>)>,
}

impl<'a> StoredWeights<'a> {
    /// The weights of a checkpoint; with `check`, NaN and infinite ones are refused.
    pub(in crate::model) fn new(source: &'a Source, check: bool) -> Self {
        let (open, clips) = (HashMap::new(), HashMap::new());
        Self { source, check, matrix: String::new(), open, clips, transform: None }
    }

    /// The tensor of a weight or of a bias.
    fn tensor(&mut self, matrix: &Matrix, slot: Slot) -> Result<&TensorData<'a>> {
        if self.matrix != matrix.name {
            self.matrix.clone_from(&matrix.name);
            self.open.clear();
            self.clips.clear();
        }
        if !self.open.contains_key(&slot) {
            let rows = matrix.source.rows_of(slot, matrix.rows) as usize;
            let shape = match slot.part {
                Part::Weight => vec![rows, matrix.cols as usize],
                _ => vec![rows],
            };
            let tensor = self.read(slot, &shape)?;
            // Tensors of an expert gone by are not read again.
            self.open.retain(|open, _| open.place == slot.place);
            self.open.insert(slot, tensor);
        }
        self.open.get(&slot).ok_or_else(|| Error::MissingTensor { name: matrix.name.clone() })
    }

    fn read(&self, slot: Slot, shape: &[usize]) -> Result<TensorData<'a>> {
        let tensor = self.source.checkpoint.stored(self.source.naming.locate(slot, shape))?;
        if self.check {
            tensor.check_finite()?;
        }
        Ok(tensor)
    }

    /// A row of a matrix, as it is in the checkpoint.
    fn row(&mut self, matrix: &Matrix, row: u32, out: &mut [f32]) -> Result<()> {
        let (slot, at) = matrix.locate(row);
        let first = at as usize * out.len();
        self.tensor(matrix, slot)?.read_f32(first..first + out.len(), out)
    }

    /// The name of a part of the tensor that a row comes from.
    fn name(&self, matrix: &Matrix, row: u32, part: Part) -> String {
        self.source.naming.tensor_name(matrix.locate(row).0.its(part))
    }

    /// Packing knows no tensor names, and counts from the beginning of the piece; `bad_row` of it is the first that
    /// cannot be packed.
    fn named(&self, error: Error, matrix: &Matrix, first_row: u32, bad_row: u32) -> Error {
        match error {
            Error::TensorMismatch { expected, found, .. } => {
                let name = self.name(matrix, first_row + bad_row, Part::Weight);
                Error::TensorMismatch { name, expected, found }
            }
            Error::NotFinite { index, value, .. } => {
                let cols = u64::from(matrix.cols);
                let (slot, row) = matrix.locate(first_row + (index / cols) as u32);
                let shape = [matrix.source.rows_of(slot, matrix.rows) as usize, matrix.cols as usize];
                let stored = self.source.naming.locate(slot, &shape);
                let element = u64::from(row) * cols + index % cols;
                Error::NotFinite { index: stored.index(element as usize), name: stored.name, value }
            }
            other => other,
        }
    }
}

/// Rows of a router's matrix beside those of its experts.
const UNBIASED: [Role; 3] = [Role::SharedGate, Role::NoiseRouter, Role::GroupRouter];

impl Contents for StoredWeights<'_> {
    fn rows(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<PackedMatrix> {
        let (count, cols) = (rows.len(), matrix.cols as usize);
        let mut data = vec![0.0; count * cols];
        let transform = matrix.transform.as_ref().map(|vectors| self.transform(vectors)).transpose()?;
        for (row, out) in rows.clone().zip(data.chunks_exact_mut(cols)) {
            self.row(matrix, row, out)?;
            if transform.as_ref().is_some_and(|transform| !transform.scale_row(out)) {
                return Err(too_large(self.name(matrix, row, Part::Scale)));
            }
        }
        let clips = self.clips(matrix, rows.clone())?;
        let pack = |rows: Range<usize>| {
            let clips = &clips[rows.start * clips.len() / count..rows.end * clips.len() / count];
            let data = &data[rows.start * cols..rows.end * cols];
            match parent_of(matrix.format) {
                // What need not be finite is stored as it is.
                WeightFormat::F32 if !self.check => PackedMatrix::f32(rows.len(), cols, data),
                format => PackedMatrix::pack_clipped(format, rows.len(), cols, data, clips),
            }
        };
        pack(0..count).map_err(|error| {
            let bad_row = (0..count).find(|row| pack(*row..row + 1).is_err()).unwrap_or(0);
            self.named(error, matrix, rows.start, bad_row as u32)
        })
    }

    fn biases(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<Vec<f32>> {
        let mut data = vec![0.0; rows.len()];
        let transform = matrix.transform.as_ref().map(|vectors| self.transform(vectors)).transpose()?;
        let mut weights = vec![0.0; matrix.cols as usize];
        for (row, out) in rows.zip(data.chunks_exact_mut(1)) {
            let (slot, at) = matrix.locate(row);
            // Of what stands in a router's matrix, only the logits of experts have biases.
            if matrix.bias && !UNBIASED.contains(&slot.role) {
                self.tensor(matrix, slot.its_bias())?.read_f32(at as usize..at as usize + 1, out)?;
            }
            if let Some(transform) = &transform {
                self.row(matrix, row, &mut weights)?;
                out[0] = (f64::from(out[0]) + transform.shift_of(&weights)) as f32;
                if !out[0].is_finite() {
                    return Err(too_large(self.name(matrix, row, Part::Delta)));
                }
            }
        }
        Ok(data)
    }

    /// `1 + w` where a norm stores an offset, 1 where it stores nothing; shifts of zero where a LayerNorm stores none.
    fn vectors(&mut self, vectors: &Vectors) -> Result<Vec<f32>> {
        let kind = match vectors.kind {
            VectorsKind::Norm(Norm { kind, .. }) => Some(kind),
            VectorsKind::Transform => return Ok(self.transform(vectors)?.vectors()),
            VectorsKind::Experts { choices, .. } => {
                let shape = [vectors.width() / choices, choices].map(|n| n as usize);
                return self.source.fetch(vectors.slots[0], &shape);
            }
            VectorsKind::RelativeBias { bias, both_ways, heads } => {
                let shape = [bias.buckets, heads].map(|n| n as usize);
                let table = self.read(vectors.slots[0], &shape)?.to_f32();
                return Ok(by_distance(bias, both_ways, &table));
            }
            VectorsKind::Stored => None,
        };
        let slots = || vectors.slots.iter().zip(vectors.widths.iter().map(|width| *width as usize));
        let mut data = Vec::with_capacity(vectors.len() as usize);
        for (slot, width) in slots() {
            let mut weight = match kind {
                Some(NormKind::RmsUnweighted) => vec![1.0; width],
                _ => self.read(*slot, &[width])?.to_f32(),
            };
            if kind == Some(NormKind::RmsUnitOffset) {
                weight.iter_mut().for_each(|w| *w += 1.0);
            }
            data.append(&mut weight);
        }
        if kind == Some(NormKind::LayerNormBias) {
            for (slot, width) in slots() {
                data.append(&mut self.read(slot.its_bias(), &[width])?.to_f32());
            }
        }
        data.resize(vectors.len() as usize, 0.0);
        Ok(data)
    }
}
