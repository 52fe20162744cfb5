//! Models: description, weights, forward pass.

pub mod checkpoint;
pub mod config;
pub mod family;
pub mod naming;
pub mod plan;
pub mod slot;
mod source;

pub use source::Source;
#[cfg(feature = "files")]
pub use source::open;
