//! Wattle: hand-written WGSL kernels for transformer inference on any GPU.

mod error;
#[cfg(feature = "model")]
pub mod model;
pub mod quant;
#[cfg(feature = "model")]
pub mod reference;

pub use error::{Error, Result};
pub use wgpu;
