//! Every kernel as the plainest loops on the CPU: the specification that the shaders are held to.
//!
//! Storage is f32, sums are f64, nothing is clever. Tensors are row-major slices, innermost last; `n` counts
//! tokens, `d` is the width of the residual stream, other letters are as at the function. The functions of this
//! module trust their callers: a slice of another length than its shape says panics. [`forward`] checks what it
//! is given.

pub mod activation;
pub mod altup;
pub mod attention;
pub mod auction;
pub mod cache_rows;
pub mod embed;
pub mod expert_choice;
pub mod expert_plan;
pub mod forward;
pub mod lookup;
pub mod matmul;
pub mod moe;
pub mod norm;
pub mod quantize;
pub mod relative_bias;
pub mod rope;
pub mod sample;
pub mod sinkhorn;
pub mod softmax;
pub mod sparse_gate;
pub mod transform;
pub mod weights;
