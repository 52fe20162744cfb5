//! Weights as stored words: formats, and packing, slicing and unpacking on the CPU. No GPU here.
//!
//! [`WeightFormat`] says how a matrix is stored and is the one place that knows how long its rows are;
//! [`Parent`] holds the 8-bit codes that every integer format is sliced from; [`PackedMatrix`] is a matrix
//! in the words a kernel reads.

mod clip;
mod codes;
mod format;
mod packed;
mod parent;
mod random;
mod rows;

pub use clip::Clip;
pub use codes::{Codes, Storage, Width, slice_code};
pub use format::{IntFormat, QuantBlock, ScaleFormat, WeightFormat};
pub use packed::PackedMatrix;
pub use parent::{Parent, Quantizer};
#[cfg(feature = "model")]
pub(crate) use random::{mix, random_words};
pub(crate) use rows::{plane_words, row_words};
