//! Weights as stored words: formats, and packing, slicing and unpacking on the CPU. No GPU here.
//!
//! [`WeightFormat`] says how a matrix is stored and is the one place that knows how long its rows are;
//! [`Parent`] holds the 8-bit codes that every integer format is sliced from; [`PackedMatrix`] is a matrix
//! in the words a kernel reads.

mod format;
mod packed;
mod parent;
mod random;

pub(crate) use format::row_words;
pub use format::{IntFormat, QuantBlock, WeightFormat, Width};
pub use packed::PackedMatrix;
pub use parent::{Parent, slice_code};
#[cfg(feature = "model")]
pub(crate) use random::{mix, random_words};
