//! Attention of one layer by the crate's own kernels: a bench measures it, and the comparison with others too.

pub mod case;
pub mod layer;
