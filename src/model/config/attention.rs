//! Attention as data.

use serde::{Deserialize, Serialize};

use super::{Norm, Rope, is_false};
use crate::model::slot::SubLayerPlace;

/// Grouped-query attention, with a causal mask unless `bidirectional` says otherwise. The default has no heads: it is what others differ from in some fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Query heads, `H`.
    pub heads: u32,
    /// Key/value heads, `G`; `H / G` query heads share one.
    pub kv_heads: u32,
    /// Width of a head, `h`.
    pub head_dim: u32,
    /// Multiplies `q . k`.
    pub scale: f32,
    /// Sliding window in tokens, the query's own included; absent in a global layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Tokens of a chunk, in place of a window: a query sees the keys of its own chunk, those that begin at multiples of
    /// it (Llama 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u32>,
    /// Whether a query sees all keys, also those after it: in an encoder, and nowhere else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bidirectional: bool,
    /// `z <- cap * tanh(z / cap)` on the scaled scores, before the mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f32>,
    /// How scores fall with the distance to the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alibi: Option<Alibi>,
    /// Norm over each head of Q and of K, before the rotation. One without a weight may as well come after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<Norm>,
    /// Whether each head has weights of its own for that norm, a LayerNorm (Cohere).
    #[serde(default, skip_serializing_if = "is_false")]
    pub qk_norm_by_head: bool,
    /// Whether that norm is over all heads together, as they come out of the projection (OLMoE, arXiv 2409.02060).
    #[serde(default, skip_serializing_if = "is_false")]
    pub qk_norm_of_all_heads: bool,
    /// Whether heads of V are normed as those of Q and K, without a weight (Gemma 4).
    #[serde(default, skip_serializing_if = "is_false")]
    pub v_norm: bool,
    /// Whether V is the projection of K, before K's norm and rotation (Gemma 4).
    #[serde(default, skip_serializing_if = "is_false")]
    pub v_is_k: bool,
    /// The earlier attention whose keys and values these queries see, in place of keys and values of their own (Gemma 3n
    /// and 4). Both have the same key/value heads, of the same width, and see equally far back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_from: Option<SubLayerPlace>,
    /// Q, K and V are clamped to `-clip ..= clip`, before the rotation (OLMoE).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qkv_clip: Option<f32>,
    /// Rotary positions; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope: Option<Rope>,
    /// How queries grow with their position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Temperature>,
    /// Whether each query head has a stored logit beside those of its keys, whose share of the softmax goes nowhere
    /// (gpt-oss, arXiv 2508.10925).
    #[serde(default, skip_serializing_if = "is_false")]
    pub sinks: bool,
    /// Biases on the Q, K and V projections.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Bias on the output projection.
    #[serde(default)]
    pub out_bias: bool,
}

/// The slope of the head times how many tokens the key is back, times a number, is taken from the scaled score, before the soft
/// cap (arXiv 2108.12409, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alibi {
    /// The number: 1 in the paper, the scale of scores in Falcon.
    pub scale: f32,
    /// Whether slopes, positions and their products are rounded to bfloat16 (Falcon).
    #[serde(default, skip_serializing_if = "is_false")]
    pub bf16: bool,
}

/// A query at position `p` is multiplied by `1 + scale * ln(1 + floor((p + 1) / floor))` (Llama 4, in layers without
/// positions; arXiv 2501.19399).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// How strongly.
    pub scale: f32,
    /// Positions that are alike.
    pub floor: u32,
}

impl Attention {
    /// Tokens of the window or of the chunk, if there is either.
    pub fn reach(&self) -> Option<u32> {
        self.window.or(self.chunk)
    }

    /// Rows of the Q projection: `H h`.
    pub fn q_rows(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Rows of the K projection and of the V projection: `G h`.
    pub fn kv_rows(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// Rows of the fused Q, K, V projection: `(H + 2 G) h`, or `(H + G) h` where V is K, or `H h` where both are another's.
    pub fn qkv_rows(&self) -> u32 {
        let projections = match (self.kv_from, self.v_is_k) {
            (Some(_), _) => 0,
            (None, true) => 1,
            (None, false) => 2,
        };
        self.q_rows() + projections * self.kv_rows()
    }

    /// Elements of the scales of the norms of Q and of K: of one head, or of all heads.
    pub fn qk_norm_widths(&self) -> [u32; 2] {
        if self.qk_norm_of_all_heads || self.qk_norm_by_head {
            [self.q_rows(), self.kv_rows()]
        } else {
            [self.head_dim; 2]
        }
    }

    /// Query heads that share one key/value head.
    pub fn queries_per_kv_head(&self) -> u32 {
        self.heads / self.kv_heads
    }
}
