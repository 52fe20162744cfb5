//! A model as data: blocks of sub-layers in any order, each with its own numbers.
//!
//! The native file format is this description as JSON; a Hugging Face `config.json` becomes the same
//! (`model/family/*.rs`). Nothing here knows a GPU.

mod validate;

use serde::{Deserialize, Serialize};

/// A decoder-only transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A name for people: family or file.
    pub name: String,
    /// Rows of the embedding table and of the head; at most [`MAX_VOCAB`](crate::kernels::sample_best::MAX_VOCAB).
    pub vocab_size: u32,
    /// Width of the residual stream, `d`.
    pub hidden_size: u32,
    /// Longest sequence in tokens, prompt and answer together.
    pub context_length: u32,
    /// The embedding row is multiplied by this (Gemma: `sqrt(d)`).
    #[serde(default = "one")]
    pub embedding_scale: f32,
    /// The blocks, first to last.
    pub blocks: Vec<Block>,
    /// The norm before the head.
    pub final_norm: Norm,
    /// The head.
    #[serde(default)]
    pub head: Head,
}

/// What the residual stream passes between two recorded hidden states: in most models "a layer".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The sub-layers, first to last.
    pub sublayers: Vec<SubLayer>,
}

/// `x <- x + post_norm(op(norm(x)))`; either norm may be absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubLayer {
    /// Norm of the input of `op`.
    pub norm: Norm,
    /// What the sub-layer computes.
    pub op: Op,
    /// Norm of its result, before it is added (Gemma 2 and 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_norm: Option<Norm>,
}

/// What a sub-layer computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Self-attention (`a` in a layout string).
    Attention(Attention),
    /// Dense feed-forward (`f`).
    FeedForward(FeedForward),
    /// Sparse, gated feed-forward (`g`).
    Experts(Experts),
}

/// A norm over the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norm {
    /// Which norm.
    pub kind: NormKind,
    /// Added to the mean square or variance; positive, or a row of zeros would become NaN.
    pub eps: f32,
}

/// Which norm, and how its stored weight becomes a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// `x * rsqrt(mean(x^2) + eps) * w`.
    Rms,
    /// The same with the scale `1 + w` (Gemma 1 to 3).
    RmsUnitOffset,
    /// `(x - mean) * rsqrt(var + eps) * w`.
    LayerNorm,
    /// The same `+ b`.
    LayerNormBias,
}

/// Grouped-query attention with a causal mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// `z <- cap * tanh(z / cap)` on the scaled scores, before the mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f32>,
    /// Norm over each head of Q and of K, before the rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<Norm>,
    /// Rotary positions; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope: Option<Rope>,
    /// Biases on the Q, K and V projections.
    #[serde(default)]
    pub qkv_bias: bool,
    /// Bias on the output projection.
    #[serde(default)]
    pub out_bias: bool,
}

/// Rotary position embedding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Leading elements of a head that are rotated; even, at most `head_dim`.
    pub rotary_dim: u32,
    /// Which elements form a pair.
    #[serde(default)]
    pub layout: RopeLayout,
    /// How frequencies are stretched for long contexts.
    #[serde(default)]
    pub scaling: RopeScaling,
}

/// Which elements of the rotary part form a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeLayout {
    /// `(x[i], x[i + n/2])`.
    #[default]
    HalfSplit,
    /// `(x[2i], x[2i + 1])`.
    Interleaved,
}

/// How frequencies are stretched for long contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3: low frequencies divided by `factor`, high ones kept, a linear ramp between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are low.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are high.
        high_freq_factor: f64,
        /// Context the model was trained with, in tokens.
        original_context: u32,
    },
}

/// Dense feed-forward: `down(act(gate(x)) * up(x))` when gated, else `down(act(up(x)))`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedForward {
    /// Width of one branch, `f`.
    pub hidden: u32,
    /// The activation.
    pub activation: Activation,
    /// Whether a second projection is multiplied in (GEGLU, SwiGLU, ReGLU).
    pub gated: bool,
    /// Biases on every projection.
    #[serde(default)]
    pub bias: bool,
}

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    Relu2,
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU by the tanh formula.
    GeluTanh,
    /// GELU by the error function.
    GeluErf,
}

/// Sparse feed-forward: a router chooses `top_k` of `count` feed-forward networks per token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    /// How many experts there are, `E`.
    pub count: u32,
    /// How many a token uses, `k`.
    pub top_k: u32,
    /// How they are chosen and weighted.
    pub routing: Routing,
    /// One expert.
    pub expert: FeedForward,
}

/// How experts are chosen and weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// The `k` largest of `softmax(logits)` over all experts; ties go to the lower index.
    SoftmaxTopk {
        /// Whether the `k` weights are divided by their sum.
        renormalize: bool,
    },
}

/// The head: logits from the last hidden state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Whether the embedding table is the head's weight.
    pub tied: bool,
    /// `z <- cap * tanh(z / cap)` on the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f32>,
}

fn one() -> f32 {
    1.0
}

impl ModelConfig {
    /// Every sub-layer with the indices of its block and of itself in the block, in order.
    pub fn sublayers(&self) -> impl Iterator<Item = (usize, usize, &SubLayer)> {
        self.blocks
            .iter()
            .enumerate()
            .flat_map(|(b, block)| block.sublayers.iter().enumerate().map(move |(s, sub)| (b, s, sub)))
    }
}

impl Attention {
    /// Rows of the Q projection: `H h`.
    pub fn q_rows(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Rows of the K projection and of the V projection: `G h`.
    pub fn kv_rows(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// Rows of the fused Q, K, V projection: `(H + 2 G) h`.
    pub fn qkv_rows(&self) -> u32 {
        self.q_rows() + 2 * self.kv_rows()
    }

    /// Query heads that share one key/value head.
    pub fn queries_per_kv_head(&self) -> u32 {
        self.heads / self.kv_heads
    }
}
