//! Models: description, weights, forward pass.

pub mod config;
pub mod plan;
pub mod slot;
