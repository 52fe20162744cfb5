//! One tensor of a checkpoint, as it is stored.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};

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

/// A tensor as a checkpoint stores it: row-major bytes, of any alignment.
#[derive(Clone, Debug)]
pub struct TensorData<'a> {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its element type.
    pub dtype: StoredType,
    /// Its dimensions, innermost last.
    pub shape: Vec<usize>,
    /// Its elements: borrowed from memory or a mapped file where that is possible.
    pub bytes: Cow<'a, [u8]>,
}

impl TensorData<'_> {
    /// How many elements there are.
    pub fn element_count(&self) -> usize {
        self.bytes.len() / self.dtype.size_bytes()
    }

    /// Widens the elements `range` (row-major indices) to f32 and writes them to `out`.
    ///
    /// # Errors
    /// [`Error::TensorMismatch`] if the range leaves the tensor or `out` has another length.
    pub fn read_f32(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        let bytes =
            self.part(&range).filter(|_| range.len() == out.len()).ok_or_else(|| Error::TensorMismatch {
                name: self.name.clone(),
                expected: format!(
                    "a range within its {} elements, as long as the output",
                    self.element_count()
                ),
                found: format!("{range:?} for an output of {}", out.len()),
            })?;
        self.dtype.widen(bytes, out);
        Ok(())
    }

    /// All elements, widened to f32.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.element_count()];
        self.dtype.widen(&self.bytes, &mut out);
        out
    }

    /// Looks for NaN and infinities: an exponent of ones only.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first such element.
    pub fn check_finite(&self) -> Result<()> {
        let found = match self.dtype {
            StoredType::F32 => first(&self.bytes, |b| has_all(u32::from_le_bytes(b), 0x7f80_0000)),
            StoredType::F16 => first(&self.bytes, |b| has_all(u16::from_le_bytes(b).into(), 0x7c00)),
            StoredType::Bf16 => first(&self.bytes, |b| has_all(u16::from_le_bytes(b).into(), 0x7f80)),
        };
        let Some(index) = found else { return Ok(()) };
        let mut value = [0.0];
        self.read_f32(index..index + 1, &mut value)?;
        Err(Error::NotFinite { name: self.name.clone(), index, value: value[0] })
    }

    fn part(&self, range: &Range<usize>) -> Option<&[u8]> {
        let size = self.dtype.size_bytes();
        self.bytes.get(range.start.checked_mul(size)?..range.end.checked_mul(size)?)
    }
}

fn widen<const N: usize>(bytes: &[u8], out: &mut [f32], to_f32: impl Fn([u8; N]) -> f32) {
    for (out, element) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = to_f32(*element);
    }
}

fn first<const N: usize>(bytes: &[u8], test: impl Fn([u8; N]) -> bool) -> Option<usize> {
    bytes.as_chunks().0.iter().position(|element| test(*element))
}

fn has_all(bits: u32, mask: u32) -> bool {
    bits & mask == mask
}
