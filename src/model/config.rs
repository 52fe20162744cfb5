//! A model as data: blocks of sub-layers in any order, each with its own numbers.
//!
//! The native file format is this description as JSON; a Hugging Face `config.json` becomes the same
//! (`model/family/*.rs`). Nothing here knows a GPU.

mod experts;
mod routing;
mod validate;

pub(crate) use experts::thousandths;
pub use experts::{Capacity, Experts, GrantOrder, Share, SharedExpert};
pub use routing::{ExpertGroups, GroupScore, Hierarchical, Later, Routing, Score, Topk, WeightOn};

use serde::{Deserialize, Serialize};

use super::slot::Place;

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

/// `x <- x + post_norm(op(norm(x)))`; either norm may be absent. With `output_scale`, all of it times a stored number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubLayer {
    /// Norm of the input of `op`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// What the sub-layer computes.
    pub op: Op,
    /// Norm of its result, before it is added (Gemma 2 to 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_norm: Option<Norm>,
    /// Whether the residual stream is then multiplied by a stored number (Gemma 4). It takes a `post_norm`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub output_scale: bool,
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
    /// Attention whose keys and values are projections of an encoder's output, as wide as the residual stream (`c`). It is
    /// described and counted; there is no encoder to run it with yet.
    CrossAttention(Attention),
    /// Branches side by side, each with norms of its own or none: all read the same input, and what they give is added
    /// (`(af)`; PaLM, arXiv 2204.02311, section 2).
    Parallel(Vec<SubLayer>),
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
    /// `x * rsqrt(mean(x^2) + eps)`, without a weight.
    RmsUnweighted,
}

/// Grouped-query attention with a causal mask. The default has no heads: it is what others differ from in some fields.
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
    /// `z <- cap * tanh(z / cap)` on the scaled scores, before the mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f32>,
    /// Norm over each head of Q and of K, before the rotation. One without a weight may as well come after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<Norm>,
    /// Whether that norm is over all heads together, as they come out of the projection (OLMoE, arXiv 2409.02060).
    #[serde(default, skip_serializing_if = "is_false")]
    pub qk_norm_of_all_heads: bool,
    /// Whether heads of V are normed as those of Q and K, without a weight (Gemma 4).
    #[serde(default, skip_serializing_if = "is_false")]
    pub v_norm: bool,
    /// Whether V is the projection of K, before K's norm and rotation (Gemma 4).
    #[serde(default, skip_serializing_if = "is_false")]
    pub v_is_k: bool,
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
    /// YaRN (arXiv 2309.00071, sections 3.2 and 3.4): of the frequencies that turn fewer than `beta_slow` times within the
    /// original context each is divided by `factor`, of those that turn more than `beta_fast` times none, with a linear
    /// ramp over the pairs between; and cosines and sines are multiplied by `magnitude`.
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// Turns above which a frequency is kept.
        beta_fast: f64,
        /// Turns below which it is divided.
        beta_slow: f64,
        /// Whether the ends of the ramp are whole pairs.
        truncate: bool,
        /// Multiplies what is rotated.
        magnitude: f64,
        /// Context the model was trained with, in tokens.
        original_context: u32,
    },
    /// Pairs are those of the whole rotary part, and so are their frequencies, but only the first `pairs` turn (Gemma 4).
    Proportional {
        /// Pairs that turn.
        pairs: u32,
        /// The divisor of every frequency.
        factor: f64,
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
    /// Limits on what is gated, in place of a plain gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<GateClamp>,
}

/// `(up + 1) * gate * sigmoid(alpha * gate)` with `gate` at most `limit` and `up` within `-limit ..= limit` (gpt-oss, arXiv
/// 2508.10925). It takes the place of a gated SiLU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateClamp {
    /// Steepness of the sigmoid.
    pub alpha: f32,
    /// Largest gate, and largest magnitude of up.
    pub limit: f32,
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

/// The head: logits from the last hidden state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Whether the embedding table is the head's weight.
    pub tied: bool,
    /// `z <- cap * tanh(z / cap)` on the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f32>,
    /// Whether every logit has a bias.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
}

fn is_false(value: &bool) -> bool {
    !value
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

impl ModelConfig {
    /// What every sub-layer computes, with its place, in order; of a parallel one, what its branches compute.
    pub fn ops(&self) -> impl Iterator<Item = (Place, &Op)> {
        self.sublayers().flat_map(|(block, index, sublayer)| {
            let place = Place::sublayer(block, index);
            match &sublayer.op {
                Op::Parallel(branches) => {
                    branches.iter().enumerate().map(|(n, branch)| (place.branch(n), &branch.op)).collect()
                }
                op => vec![(place, op)],
            }
        })
    }
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

    /// Rows of the fused Q, K, V projection: `(H + 2 G) h`, or `(H + G) h` where V is K.
    pub fn qkv_rows(&self) -> u32 {
        self.q_rows() + if self.v_is_k { 1 } else { 2 } * self.kv_rows()
    }

    /// Elements of the scales of the norms of Q and of K: a head, or all heads.
    pub fn qk_norm_widths(&self) -> [u32; 2] {
        if self.qk_norm_of_all_heads { [self.q_rows(), self.kv_rows()] } else { [self.head_dim; 2] }
    }

    /// Query heads that share one key/value head.
    pub fn queries_per_kv_head(&self) -> u32 {
        self.heads / self.kv_heads
    }
}

impl SubLayer {
    /// A sub-layer with a norm before it, as most are.
    pub const fn new(norm: Norm, op: Op) -> Self {
        Self { norm: Some(norm), op, post_norm: None, output_scale: false }
    }
}

impl FeedForward {
    /// `down(act(gate(x)) * up(x))`, without biases.
    pub const fn gated(hidden: u32, activation: Activation) -> Self {
        Self { gated: true, ..Self::plain(hidden, activation) }
    }

    /// `down(act(up(x)))`, without biases.
    pub const fn plain(hidden: u32, activation: Activation) -> Self {
        Self { hidden, activation, gated: false, bias: false, clamp: None }
    }
}

impl NormKind {
    /// Whether a checkpoint has a scale for each element.
    pub fn has_weight(self) -> bool {
        self != Self::RmsUnweighted
    }
}
