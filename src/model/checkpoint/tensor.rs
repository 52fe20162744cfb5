//! One tensor of a checkpoint, as it is stored.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};

use crate::model::naming::Stored;
use crate::{Error, Result};

/// How a checkpoint stores an element; always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl StoredType {
    /// Bytes of an element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    fn widen(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => widen(bytes, out, f32::from_le_bytes),
            Self::F16 => widen(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => widen(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        }
    }
}

/// A tensor of a checkpoint, or a part of one that is a matrix of its own.
#[derive(Clone, Debug)]
pub struct TensorData<'a> {
    pub(super) stored: Stored,
    /// Its element type.
    pub dtype: StoredType,
    /// What is stored from its first element to its last, of any alignment: borrowed from memory or a mapped file where that
    /// is possible.
    pub bytes: Cow<'a, [u8]>,
}

impl TensorData<'_> {
    /// The tensor's name in the checkpoint.
    pub fn name(&self) -> &str {
        &self.stored.name
    }

    /// The tensor's dimensions, innermost last.
    pub fn shape(&self) -> &[usize] {
        &self.stored.shape
    }

    /// How many elements there are.
    pub fn element_count(&self) -> usize {
        self.stored.len()
    }

    /// Widens the elements `range` (row-major indices) to f32 and writes them to `out`.
    ///
    /// # Errors
    /// [`Error::TensorMismatch`] if the range leaves the tensor or `out` has another length.
    pub fn read_f32(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        if range.len() != out.len() || range.end > self.element_count() || range.start > range.end {
            return Err(Error::TensorMismatch {
                name: self.stored.name.clone(),
                expected: format!(
                    "a range within its {} elements, as long as the output",
                    self.element_count()
                ),
                found: format!("{range:?} for an output of {}", out.len()),
            });
        }
        self.widen(range.start, out);
        Ok(())
    }

    /// All elements, widened to f32.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.element_count()];
        self.widen(0, &mut out);
        out
    }

    /// Looks for NaN and infinities.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first such element, counted as it is stored.
    pub fn check_finite(&self) -> Result<()> {
        // An exponent of ones only.
        let is_bad = |element: &[u8]| match (self.dtype, element) {
            (StoredType::F32, [.., low, high]) => u16::from_le_bytes([*low, *high]) & 0x7f80 == 0x7f80,
            (StoredType::Bf16, [low, high]) => u16::from_le_bytes([*low, *high]) & 0x7f80 == 0x7f80,
            (StoredType::F16, [low, high]) => u16::from_le_bytes([*low, *high]) & 0x7c00 == 0x7c00,
            _ => false,
        };
        let size = self.dtype.size_bytes();
        let found = match self.stored.is_contiguous() {
            true => self.bytes.chunks_exact(size).position(is_bad),
            false => (0..self.element_count()).find(|element| is_bad(self.element(*element))),
        };
        let Some(element) = found else { return Ok(()) };
        let mut value = [0.0];
        self.dtype.widen(self.element(element), &mut value);
        let (name, index) = (self.stored.name.clone(), self.stored.index(element));
        Err(Error::NotFinite { name, index, value: value[0] })
    }

    /// Elements from `first` on, widened and multiplied as the slot wants them.
    fn widen(&self, first: usize, out: &mut [f32]) {
        if self.stored.is_contiguous() {
            let size = self.dtype.size_bytes();
            self.dtype.widen(&self.bytes[first * size..(first + out.len()) * size], out);
        } else {
            for (element, out) in (first..).zip(out.chunks_exact_mut(1)) {
                self.dtype.widen(self.element(element), out);
            }
        }
        if self.stored.factor != 1.0 {
            out.iter_mut().for_each(|value| *value *= self.stored.factor);
        }
    }

    fn element(&self, element: usize) -> &[u8] {
        let size = self.dtype.size_bytes();
        let at = self.stored.offset(element) * size;
        &self.bytes[at..at + size]
    }
}

fn widen<const N: usize>(bytes: &[u8], out: &mut [f32], to_f32: impl Fn([u8; N]) -> f32) {
    for (out, element) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = to_f32(*element);
    }
}
