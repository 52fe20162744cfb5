//! Wattle: hand-written WGSL kernels for transformer inference on any GPU.

pub mod energy;
mod error;

pub mod gpu;
pub mod kernel;
pub mod kernels;
#[cfg(feature = "model")]
pub mod model;
pub mod quant;
#[cfg(feature = "model")]
pub mod reference;
pub mod schedule;
pub mod shader;
pub mod tensor;
#[cfg(feature = "files")]
pub mod verify;
mod wait;

pub use error::{Error, Result};
pub use gpu::{Gpu, GpuOptions};
pub use tensor::Tensor;
pub use wgpu;
