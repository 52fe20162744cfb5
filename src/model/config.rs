//! A model as data: blocks of sub-layers in any order, each with its own numbers.
//!
//! The native file format is this description as JSON; a Hugging Face `config.json` becomes the same
//! (`model/family/*.rs`). Nothing here knows a GPU.

mod attention;
mod encoder;
mod experts;
mod latent_attention;
mod layer_inputs;
mod rope;
mod routing;
mod streams;
mod validate;

pub use attention::{Alibi, Attention, Temperature};
pub use encoder::{Encoder, RelativeBias};
pub(crate) use experts::thousandths;
pub use experts::{Capacity, Experts, GrantOrder, Share, SharedExpert};
pub use latent_attention::LatentAttention;
pub use layer_inputs::{LayerInput, LayerInputs};
pub use rope::{Rope, RopeLayout, RopeScaling};
pub use routing::{ExpertGroups, GroupScore, Hierarchical, Later, Routing, Score, Topk, WeightOn};

pub use streams::Streams;

use serde::{Deserialize, Serialize};

use super::slot::{Place, Stack};

/// A transformer: a decoder, and perhaps an encoder that it attends to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A name for people: family or file.
    pub name: String,
    /// Rows of the embedding table and of the head; at most [`MAX_VOCAB`](crate::kernels::sample_best::MAX_VOCAB).
    pub vocab_size: u32,
    /// Width of the residual stream, `d`.
    pub hidden_size: u32,
    /// Longest sequence in tokens, prompt and answer together; of an encoder, its longest input.
    pub context_length: u32,
    /// The embedding row is multiplied by this (Gemma: `sqrt(d)`).
    #[serde(default = "one")]
    pub embedding_scale: f32,
    /// Whether a stored row for each position, `[context_length, d]`, is then added to it (GPT-BigCode).
    #[serde(default, skip_serializing_if = "is_false")]
    pub learned_positions: bool,
    /// Embeddings of each layer, where sub-layers read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_inputs: Option<LayerInputs>,
    /// What mixes residual streams, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    /// The encoder, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<Encoder>,
    /// Added to the scores of self-attention in `blocks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_bias: Option<RelativeBias>,
    /// The blocks, first to last; an encoder's apart.
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

/// `x <- x + post_norm(op(norm(x)))`; either norm may be absent. With `output_scale`, all of it times a stored number, with
/// `output_factor` times that number.
/// With a `width`, `project_out(op(project_in(norm(x))))` takes the place of `op(norm(x))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubLayer {
    /// Norm of the input of `op`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Width at which `op` computes, `w`, where it has one of its own: a dense matrix `[w, d]` leads to it and one of
    /// `[d, w]` back, without biases. All that is said of `op` with `d` then goes by `w`, and what else reads `x` within it, a
    /// router's norm or a branch's, reads what the first has made of it. Brainformer's search has it (arXiv 2306.00008).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// What the sub-layer computes.
    pub op: Op,
    /// Norm of its result, before it is added (Gemma 2 to 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_norm: Option<Norm>,
    /// Whether the residual stream is then multiplied by a stored number (Gemma 4). It takes a `post_norm`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub output_scale: bool,
    /// What the residual stream is multiplied by after it (Gemma 3n). It takes a `post_norm`, or branches of which the last has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_factor: Option<f32>,
    /// Whether a branch's input is added to what its `post_norm` gives (Gemma 3n).
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_input: bool,
}

/// What a sub-layer computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Self-attention (`a` in a layout string).
    Attention(Attention),
    /// Self-attention over latents (also `a`).
    LatentAttention(LatentAttention),
    /// Dense feed-forward (`f`).
    FeedForward(FeedForward),
    /// Sparse, gated feed-forward (`g`).
    Experts(Experts),
    /// Attention whose keys and values are projections of an encoder's output, as wide as the residual stream (`c`). They are
    /// computed once for each input of the encoder. Without an encoder, a description can be counted and not run.
    CrossAttention(Attention),
    /// A gate on the layer's own embedding, projected back (`e`).
    LayerInput(LayerInput),
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
    /// The share of gates, as if they were normally distributed, that takes no part; of the others the cutoff is subtracted before
    /// the activation (Gemma 3n, after arXiv 2506.06644).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<f32>,
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
    /// `x`.
    Identity,
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Whether the embedding table is the head's weight.
    pub tied: bool,
    /// Multiplies the logits, their biases included, before the soft cap (Cohere).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub scale: f32,
    /// `z <- cap * tanh(z / cap)` on the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f32>,
    /// Whether every logit has a bias.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
}

impl Default for Head {
    /// A matrix of its own, and nothing after it.
    fn default() -> Self {
        Self { tied: false, scale: 1.0, softcap: None, bias: false }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn one() -> f32 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_one(value: &f32) -> bool {
    *value == 1.0
}

impl ModelConfig {
    /// Every sub-layer but the encoder's with the indices of its block and of itself in the block, in order.
    pub fn sublayers(&self) -> impl Iterator<Item = (usize, usize, &SubLayer)> {
        indexed(&self.blocks)
    }

    /// The blocks of a stack; an encoder that is not there has none.
    pub fn blocks_of(&self, stack: Stack) -> &[Block] {
        match stack {
            Stack::Decoder => &self.blocks,
            Stack::Encoder => self.encoder.as_ref().map_or(&[], |encoder| &encoder.blocks),
        }
    }

    /// Every sub-layer of a stack with its place, in order.
    pub fn sublayers_of(&self, stack: Stack) -> impl Iterator<Item = (Place, &SubLayer)> {
        indexed(self.blocks_of(stack))
            .map(move |(block, index, sublayer)| (Place::sublayer(block, index).of(stack), sublayer))
    }

    /// What is added to the scores of a stack's self-attention.
    pub fn relative_bias_of(&self, stack: Stack) -> Option<RelativeBias> {
        match stack {
            Stack::Decoder => self.relative_bias,
            Stack::Encoder => self.encoder.as_ref()?.relative_bias,
        }
    }

    /// Query heads of a stack's self-attention, all of which have as many where there is a bias for them.
    pub fn biased_heads(&self, stack: Stack) -> Option<u32> {
        self.relative_bias_of(stack)?;
        self.ops_of(stack).find_map(|(_, op)| match op {
            Op::Attention(attention) => Some(attention.heads),
            _ => None,
        })
    }

    /// What every sub-layer computes, with its place, in order, those of an encoder first; of a parallel one, what its branches
    /// compute.
    pub fn ops(&self) -> impl Iterator<Item = (Place, &Op)> {
        [Stack::Encoder, Stack::Decoder].into_iter().flat_map(|stack| self.ops_of(stack))
    }

    /// The same of one stack.
    pub fn ops_of(&self, stack: Stack) -> impl Iterator<Item = (Place, &Op)> {
        self.sublayers_of(stack).flat_map(|(place, sublayer)| match &sublayer.op {
            Op::Parallel(branches) => {
                branches.iter().enumerate().map(|(n, branch)| (place.branch(n), &branch.op)).collect()
            }
            op => vec![(place, op)],
        })
    }
}

/// Every sub-layer with the indices of its block and of itself in the block.
fn indexed(blocks: &[Block]) -> impl Iterator<Item = (usize, usize, &SubLayer)> {
    blocks
        .iter()
        .enumerate()
        .flat_map(|(b, block)| block.sublayers.iter().enumerate().map(move |(s, sub)| (b, s, sub)))
}

impl ModelConfig {
    /// The sub-layers that read embeddings of their own, in order: `L` of them.
    pub fn layer_input_places(&self) -> impl Iterator<Item = Place> {
        self.ops().filter(|(_, op)| matches!(op, Op::LayerInput(_))).map(|(place, _)| place)
    }
}

impl SubLayer {
    /// A sub-layer with a norm before it, as most are.
    pub const fn new(norm: Norm, op: Op) -> Self {
        Self::with(Some(norm), op)
    }

    /// A branch, which reads what the norm of its group gives.
    pub const fn branch(op: Op) -> Self {
        Self::with(None, op)
    }

    const fn with(norm: Option<Norm>, op: Op) -> Self {
        Self {
            norm,
            width: None,
            op,
            post_norm: None,
            output_scale: false,
            output_factor: None,
            keep_input: false,
        }
    }
}

impl FeedForward {
    /// `down(act(gate(x)) * up(x))`, without biases.
    pub const fn gated(hidden: u32, activation: Activation) -> Self {
        Self { gated: true, ..Self::plain(hidden, activation) }
    }

    /// `down(act(up(x)))`, without biases.
    pub const fn plain(hidden: u32, activation: Activation) -> Self {
        Self { hidden, activation, gated: false, bias: false, sparsity: None, clamp: None }
    }
}

impl NormKind {
    /// Whether a checkpoint has a scale for each element.
    pub fn has_weight(self) -> bool {
        self != Self::RmsUnweighted
    }
}
