//! Multi-head latent attention as data.

use serde::{Deserialize, Serialize};

use super::{Norm, Rope, is_false};

/// Attention whose keys and values are projections of one latent of each token (arXiv 2405.04434, section 2.1), with a causal
/// mask: of what there is of a token, only its latent and a rotated part that all heads share are cached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentAttention {
    /// Query heads, `H`, each with keys and values of its own.
    pub heads: u32,
    /// Width of the latent that queries are projected from; absent: they are projected from the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q_latent: Option<u32>,
    /// Width of the latent of keys and values, `c`.
    pub kv_latent: u32,
    /// Elements of a query or a key that are not rotated, `n`.
    pub nope_dim: u32,
    /// Elements of a value, `v`.
    pub value_dim: u32,
    /// Norm of the latents.
    pub latent_norm: Norm,
    /// Multiplies `q . k`.
    pub scale: f32,
    /// Rotary positions of the other elements of queries and keys: all `r` of its `rotary_dim`.
    pub rope: Rope,
    /// Biases on the projections to the latents, and of the key that is rotated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub latent_bias: bool,
    /// Bias on the output projection.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out_bias: bool,
}

impl LatentAttention {
    /// Elements of a query's head: `n + r`.
    pub fn head_dim(&self) -> u32 {
        self.nope_dim + self.rope.rotary_dim
    }

    /// Rows of the projection of queries: `H (n + r)`.
    pub fn q_rows(&self) -> u32 {
        self.heads * self.head_dim()
    }

    /// Rows of the projection to the latent of keys and values, and elements that are cached of a token: `c + r`.
    pub fn kv_rows(&self) -> u32 {
        self.kv_latent + self.rope.rotary_dim
    }

    /// Rows of the projection of latents to keys: `H n`.
    pub fn k_rows(&self) -> u32 {
        self.heads * self.nope_dim
    }

    /// Rows of the projection of latents to values, and inputs of that of the output: `H v`.
    pub fn v_rows(&self) -> u32 {
        self.heads * self.value_dim
    }
}
