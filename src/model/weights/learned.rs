//! What OmniQuant has learned of weights, read beside them (arXiv 2308.13137): how far codes reach, and how inputs are
//! transformed, `x W + b = ((x - delta) / s) (W s) + (b + delta W)`.

use std::ops::Range;
use std::sync::Arc;

use super::StoredWeights;
use crate::model::layout::{Matrix, Vectors};
use crate::model::slot::{Part, Slot};
use crate::quant::{Clip, WeightFormat};
use crate::{Error, Result};

/// How the inputs of a matrix are transformed, `[K]` each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transform {
    delta: Vec<f32>,
    s: Vec<f32>,
}

impl Transform {
    /// `W s`: a row of weights for transformed inputs. Says whether what was finite still is.
    #[must_use]
    pub(super) fn scale_row(&self, row: &mut [f32]) -> bool {
        let mut fits = true;
        for (w, s) in row.iter_mut().zip(&self.s) {
            let scaled = *w * s;
            fits &= scaled.is_finite() || !w.is_finite();
            *w = scaled;
        }
        fits
    }

    /// `delta W` of a row of weights.
    pub(super) fn shift_of(&self, row: &[f32]) -> f64 {
        row.iter().zip(&self.delta).map(|(w, delta)| f64::from(*w) * f64::from(*delta)).sum()
    }

    /// `1 / s`, then `-delta / s`: `(x - delta) / s` as a kernel multiplies and adds.
    pub(super) fn vectors(&self) -> Vec<f32> {
        let scale = |s: &f32| (1.0 / f64::from(*s)) as f32;
        let shift = |(s, delta): (&f32, &f32)| (-f64::from(*delta) / f64::from(*s)) as f32;
        self.s.iter().map(scale).chain(self.s.iter().zip(&self.delta).map(shift)).collect()
    }
}

impl StoredWeights<'_> {
    /// How far the codes of a matrix's rows reach, `[rows, blocks]`; empty where nothing was learned about them.
    pub(super) fn clips(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<Vec<Clip>> {
        let WeightFormat::Int(int) = matrix.format else { return Ok(Vec::new()) };
        let (count, blocks) = (rows.len(), int.blocks(matrix.cols as usize));
        let mut clips = Vec::new();
        for (n, row) in rows.enumerate() {
            let (slot, at) = matrix.locate(row);
            if !self.clips.contains_key(&slot) {
                let rows_of_slot = matrix.source.rows_of(slot, matrix.rows) as usize;
                let of_slot = self.read_clips(slot, rows_of_slot, blocks)?;
                self.clips.retain(|read, _| read.place == slot.place);
                self.clips.insert(slot, of_slot);
            }
            if let Some(Some(of_slot)) = self.clips.get(&slot) {
                clips.resize(n * blocks, Clip::NONE);
                clips.extend_from_slice(&of_slot[at as usize * blocks..][..blocks]);
            }
        }
        if !clips.is_empty() {
            clips.resize(count * blocks, Clip::NONE);
        }
        Ok(clips)
    }

    /// Those of one tensor; a factor that is absent is 1.
    fn read_clips(&self, slot: Slot, rows: usize, blocks: usize) -> Result<Option<Vec<Clip>>> {
        let shapes = [vec![rows], vec![rows, 1], vec![rows, blocks]];
        let gamma = self.source.fetch_learned(slot.its(Part::Gamma), &shapes)?;
        let beta = self.source.fetch_learned(slot.its(Part::Beta), &shapes)?;
        if gamma.is_none() && beta.is_none() {
            return Ok(None);
        }
        let factor = |factors: &Option<Vec<f32>>, at: usize| match factors {
            None => 1.0,
            Some(factors) if factors.len() == rows => factors[at / blocks],
            Some(factors) => factors[at],
        };
        let clip = |at| Clip { gamma: factor(&gamma, at), beta: factor(&beta, at) };
        Ok(Some((0..rows * blocks).map(clip).collect()))
    }

    /// How the inputs of the weights that these vectors belong to are transformed: all in the same way.
    pub(super) fn transform(&mut self, vectors: &Vectors) -> Result<Arc<Transform>> {
        if let Some((name, transform)) = &self.transform
            && *name == vectors.name
        {
            return Ok(transform.clone());
        }
        let width = vectors.width() as usize;
        let first = self.read_transform(vectors.slots[0], width)?;
        for slot in &vectors.slots[1..] {
            let other = self.read_transform(*slot, width)?;
            let parts = [(Part::Delta, other.delta == first.delta), (Part::Scale, other.s == first.s)];
            if let Some((part, _)) = parts.into_iter().find(|(_, is_same)| !is_same) {
                return Err(self.not_shared(vectors.slots[0].its(part), slot.its(part)));
            }
        }
        let transform = Arc::new(first);
        self.transform = Some((vectors.name.clone(), transform.clone()));
        Ok(transform)
    }

    fn not_shared(&self, first: Slot, other: Slot) -> Error {
        let [first, other] = [first, other].map(|slot| self.source.naming.tensor_name(slot));
        let why = "matrices of one input, and the experts of a layer, share one transformation";
        let found = "others, or none, which counts as a delta of 0 and an s of 1";
        mismatch(other, format!("the values of '{first}': {why}"), found.into())
    }

    /// That of one weight; without any, inputs stay as they are.
    fn read_transform(&self, slot: Slot, width: usize) -> Result<Transform> {
        let delta =
            self.source.fetch_learned(slot.its(Part::Delta), &[vec![width]])?.unwrap_or(vec![0.0; width]);
        let s = self.source.fetch_learned(slot.its(Part::Scale), &[vec![width]])?.unwrap_or(vec![1.0; width]);
        let name = |part| self.source.naming.tensor_name(slot.its(part));
        if let Some((delta, s)) = delta.iter().zip(&s).find(|(delta, s)| !(*delta / *s).is_finite()) {
            let expected = "numbers that are finite when divided by s";
            return Err(mismatch(name(Part::Delta), expected.into(), format!("{delta} / {s}")));
        }
        Ok(Transform { delta, s })
    }
}

/// The error of a row that leaves f32.
pub(super) fn too_large(name: String) -> Error {
    mismatch(name, "numbers that leave weights and biases finite".into(), "one that does not".into())
}

fn mismatch(name: String, expected: String, found: String) -> Error {
    Error::TensorMismatch { name, expected, found }
}
