//! A model as data: blocks of sub-layers in any order, each with its own numbers.
//!
//! The native file format is this description as JSON; a Hugging Face `config.json` becomes the same
//! (`model/family/*.rs`). Nothing here knows a GPU.

use serde::{Deserialize, Serialize};

use crate::kernels::attention::MAX_HEAD_DIM;
use crate::kernels::moe_scan::MAX_EXPERTS;
use crate::kernels::sample_best::MAX_VOCAB;
use crate::{Error, Result};

/// A decoder-only transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A name for people: family or file.
    pub name: String,
    /// Rows of the embedding table and of the head; at most 2^24, since sampling carries tokens as `f32`.
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
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// [`Error::Config`] that names the first key that does not.
    pub fn validate(&self) -> Result<()> {
        at_most("vocab_size", MAX_VOCAB, self.vocab_size)?;
        positive("hidden_size", self.hidden_size)?;
        positive("context_length", self.context_length)?;
        finite("embedding_scale", self.embedding_scale)?;
        self.final_norm.validate("final_norm")?;
        if let Some(cap) = self.head.softcap {
            positive_f32("head.softcap", cap)?;
        }
        if self.blocks.is_empty() {
            return Err(Error::config("blocks", "at least one block", 0));
        }
        for (b, block) in self.blocks.iter().enumerate() {
            if block.sublayers.is_empty() {
                return Err(Error::config(format!("blocks[{b}].sublayers"), "at least one sub-layer", 0));
            }
            for (s, sublayer) in block.sublayers.iter().enumerate() {
                sublayer.validate(&format!("blocks[{b}].sublayers[{s}]"), self.hidden_size)?;
            }
        }
        Ok(())
    }

    /// Every sub-layer with the indices of its block and of itself in the block, in order.
    pub fn sublayers(&self) -> impl Iterator<Item = (usize, usize, &SubLayer)> {
        self.blocks
            .iter()
            .enumerate()
            .flat_map(|(b, block)| block.sublayers.iter().enumerate().map(move |(s, sub)| (b, s, sub)))
    }
}

impl SubLayer {
    fn validate(&self, at: &str, hidden_size: u32) -> Result<()> {
        self.norm.validate(&format!("{at}.norm"))?;
        if let Some(norm) = self.post_norm {
            norm.validate(&format!("{at}.post_norm"))?;
        }
        match &self.op {
            Op::Attention(attention) => attention.validate(&format!("{at}.attention")),
            Op::FeedForward(ffn) => ffn.validate(&format!("{at}.feed_forward")),
            Op::Experts(experts) => experts.validate(&format!("{at}.experts"), hidden_size),
        }
    }
}

impl Norm {
    fn validate(&self, at: &str) -> Result<()> {
        positive_f32(&format!("{at}.eps"), self.eps)
    }
}

impl Attention {
    /// Rows of the fused Q, K, V projection: `(H + 2 G) h`.
    pub fn qkv_rows(&self) -> u32 {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Query heads that share one key/value head.
    pub fn queries_per_kv_head(&self) -> u32 {
        self.heads / self.kv_heads
    }

    fn validate(&self, at: &str) -> Result<()> {
        positive(&format!("{at}.heads"), self.heads)?;
        positive(&format!("{at}.kv_heads"), self.kv_heads)?;
        at_most(&format!("{at}.head_dim"), MAX_HEAD_DIM, self.head_dim)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("a divisor of the {} query heads", self.heads);
            return Err(Error::config(format!("{at}.kv_heads"), expected, self.kv_heads));
        }
        let rows = (u64::from(self.heads) + 2 * u64::from(self.kv_heads)) * u64::from(self.head_dim);
        if u32::try_from(rows).is_err() {
            return Err(Error::config(format!("{at}.heads"), "Q, K and V of fewer than 2^32 rows", rows));
        }
        finite(&format!("{at}.scale"), self.scale)?;
        if self.window == Some(0) {
            return Err(Error::config(format!("{at}.window"), "at least 1", 0));
        }
        if let Some(cap) = self.softcap {
            positive_f32(&format!("{at}.softcap"), cap)?;
        }
        if let Some(norm) = self.qk_norm {
            norm.validate(&format!("{at}.qk_norm"))?;
            if !matches!(norm.kind, NormKind::Rms | NormKind::RmsUnitOffset) {
                let found = format!("{:?}", norm.kind);
                return Err(Error::config(format!("{at}.qk_norm.kind"), "rms or rms_unit_offset", found));
            }
        }
        match self.rope {
            Some(rope) => rope.validate(&format!("{at}.rope"), self.head_dim),
            None => Ok(()),
        }
    }
}

impl Rope {
    fn validate(&self, at: &str, head_dim: u32) -> Result<()> {
        if !self.rotary_dim.is_multiple_of(2) || self.rotary_dim == 0 || self.rotary_dim > head_dim {
            let expected = format!("an even number from 2 to the head's {head_dim}");
            return Err(Error::config(format!("{at}.rotary_dim"), expected, self.rotary_dim));
        }
        if !(self.theta.is_finite() && self.theta > 0.0) {
            return Err(Error::config(format!("{at}.theta"), "a positive number", self.theta));
        }
        let factor = match self.scaling {
            RopeScaling::None => 1.0,
            RopeScaling::Linear { factor } => factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                if !(low_freq_factor > 0.0 && high_freq_factor > low_freq_factor) || original_context == 0 {
                    let found = format!("{low_freq_factor}, {high_freq_factor}, {original_context}");
                    return Err(Error::config(
                        format!("{at}.scaling"),
                        "0 < low_freq_factor < high_freq_factor and a positive original context",
                        found,
                    ));
                }
                factor
            }
        };
        if !(factor.is_finite() && factor > 0.0) {
            return Err(Error::config(format!("{at}.scaling.factor"), "a positive number", factor));
        }
        Ok(())
    }
}

impl FeedForward {
    fn validate(&self, at: &str) -> Result<()> {
        let key = format!("{at}.hidden");
        positive(&key, self.hidden)?;
        count(&key, "rows of the matrix into it", [self.up_rows(), 1])
    }

    /// Rows of the matrix into it: `2 f` when gated, else `f`.
    fn up_rows(self) -> u64 {
        u64::from(self.hidden) * if self.gated { 2 } else { 1 }
    }
}

impl Experts {
    fn validate(&self, at: &str, hidden_size: u32) -> Result<()> {
        at_most(&format!("{at}.count"), MAX_EXPERTS, self.count)?;
        if self.top_k == 0 || self.top_k > self.count {
            let expected = format!("1 to the {} experts", self.count);
            return Err(Error::config(format!("{at}.top_k"), expected, self.top_k));
        }
        self.expert.validate(&format!("{at}.expert"))?;
        let (into, out) = (self.expert.up_rows(), u64::from(hidden_size));
        let (experts, choices) = (u64::from(self.count), u64::from(self.top_k));
        count(&format!("{at}.count"), "rows of all experts' matrices", [experts, into.max(out)])?;
        count(&format!("{at}.top_k"), "outputs of a token's experts", [choices, into.max(out)])
    }
}

fn finite(key: &str, value: f32) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::config(key, "a finite number", value)) }
}

fn positive(key: &str, value: u32) -> Result<()> {
    if value > 0 { Ok(()) } else { Err(Error::config(key, "a positive number", value)) }
}

fn at_most(key: &str, most: u32, value: u32) -> Result<()> {
    let holds = (1..=most).contains(&value);
    if holds { Ok(()) } else { Err(Error::config(key, format!("1 to {most}"), value)) }
}

/// Refuses a product that layouts and passes could not count in `u32`.
fn count(key: &str, what: &str, [a, b]: [u64; 2]) -> Result<()> {
    let product = a.saturating_mul(b);
    let fits = u32::try_from(product).is_ok();
    if fits { Ok(()) } else { Err(Error::config(key, format!("fewer than 2^32 {what}"), product)) }
}

fn positive_f32(key: &str, value: f32) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(Error::config(key, "a positive number", value))
    }
}
