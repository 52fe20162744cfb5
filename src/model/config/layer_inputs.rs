//! Embeddings that sub-layers read beside the residual stream, as data.

use serde::{Deserialize, Serialize};

use super::{Activation, Norm};

/// Embeddings of each layer (Gemma 3n and 4): the n-th [`Op::LayerInput`](super::Op::LayerInput) of a model reads
/// `norm(P_n x) + embedding_scale * E_n[token]`, where `x` is the embedding as it enters the first block, `P_n` and `E_n` are the
/// n-th `p` rows of a projection and the n-th `p` columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerInputs {
    /// Width of one, `p`.
    pub width: u32,
    /// Rows of the table, `V'`; a token beyond them has the first.
    pub vocab_size: u32,
    /// Multiplies what the table has.
    pub embedding_scale: f32,
    /// Norm of each projection, over its `p` elements.
    pub norm: Norm,
}

/// `project(act(gate(x)) * e)` with `e` of [`LayerInputs`]; gate `[p, d]`, projection `[d, p]`, without biases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerInput {
    /// The activation.
    pub activation: Activation,
}
