//! What the decoder-only families of Hugging Face have in common.

use super::keys::Keys;
use super::rope;
use crate::Result;
use crate::model::config::{
    Activation, Attention, Block, FeedForward, Head, ModelConfig, Norm, NormKind, Op, SubLayer,
};

/// Far above any published model; keeps a damaged file from asking for billions of layers.
pub(super) const MAX_LAYERS: u32 = 10_000;

/// What a family assumes where its `config.json` says nothing.
pub(super) struct Defaults {
    pub vocab_size: u32,
    pub hidden_size: u32,
    pub intermediate_size: u32,
    /// Whether that is four times the hidden size instead, which a file may also ask for by null.
    pub four_times: bool,
    pub layers: u32,
    pub heads: u32,
    /// None: as many as `heads`.
    pub kv_heads: Option<u32>,
    /// None: the hidden size divided among the heads.
    pub head_dim: Option<u32>,
    pub context_length: u32,
    pub norm_eps: f32,
    /// The key of the activation, and its value.
    pub activation: (&'static str, &'static str),
    pub tied: bool,
    /// The part of each head that is rotated; None: whole heads, and no other.
    pub partial_rotary: Option<f64>,
}

/// The common part of a description; a family changes what differs and builds its blocks from it.
pub(super) struct Decoder {
    pub vocab_size: u32,
    pub hidden_size: u32,
    pub context_length: u32,
    pub embedding_scale: f32,
    pub layers: usize,
    pub norm: Norm,
    /// The norm after each sub-layer, if there is one.
    pub post_norm: Option<Norm>,
    /// The part of each head that is rotated, in families that say so.
    pub partial_rotary: Option<f64>,
    /// Global, without positions, scaled by `head_dim^-0.5`.
    pub attention: Attention,
    /// Gated, without biases.
    pub feed_forward: FeedForward,
    pub head: Head,
}

impl Decoder {
    pub fn read(keys: &Keys<'_>, defaults: &Defaults) -> Result<Self> {
        let hidden_size = keys.or("hidden_size", defaults.hidden_size)?;
        let layers = keys.or("num_hidden_layers", defaults.layers)?;
        if layers > MAX_LAYERS {
            return Err(keys.error("num_hidden_layers", format!("at most {MAX_LAYERS}"), layers));
        }
        let partial_rotary = match defaults.partial_rotary {
            Some(default) => Some(keys.or("partial_rotary_factor", default)?),
            None => {
                keys.only("partial_rotary_factor", 1.0, rope::WHOLE_HEADS)?;
                None
            }
        };
        let hidden = intermediate_size(keys, defaults, hidden_size)?;
        let activation = activation(keys, defaults.activation)?;
        let eps = keys.or("rms_norm_eps", defaults.norm_eps)?;
        Ok(Self {
            vocab_size: keys.or("vocab_size", defaults.vocab_size)?,
            hidden_size,
            context_length: keys.or("max_position_embeddings", defaults.context_length)?,
            embedding_scale: 1.0,
            layers: layers as usize,
            norm: Norm { kind: NormKind::Rms, eps },
            post_norm: None,
            partial_rotary,
            attention: attention(keys, defaults, hidden_size)?,
            feed_forward: FeedForward {
                hidden,
                activation,
                gated: true,
                bias: false,
                sparsity: None,
                clamp: None,
            },
            head: Head { tied: keys.or("tie_word_embeddings", defaults.tied)?, ..Head::default() },
        })
    }

    /// A layer.
    pub fn block(&self, attention: Attention, feed_forward: Op) -> Block {
        self.block_of(Op::Attention(attention), feed_forward)
    }

    /// A layer with attention of any kind.
    pub fn block_of(&self, attention: Op, feed_forward: Op) -> Block {
        let sublayer = |op| SubLayer { post_norm: self.post_norm, ..SubLayer::new(self.norm, op) };
        Block { sublayers: vec![sublayer(attention), sublayer(feed_forward)] }
    }

    /// A layer whose attention and feed-forward network read the same norm, and are added to what it is of.
    pub fn parallel_block(&self, attention: Attention, feed_forward: Op) -> Block {
        let branch = |op| SubLayer { norm: None, ..SubLayer::new(self.norm, op) };
        let branches = vec![branch(Op::Attention(attention)), branch(feed_forward)];
        Block { sublayers: vec![SubLayer::new(self.norm, Op::Parallel(branches))] }
    }

    /// The same with a norm of its own for each of the two.
    pub fn parallel_block_of_two_norms(&self, attention: Attention, feed_forward: Op) -> Block {
        let branch = |op| SubLayer::new(self.norm, op);
        let branches = vec![branch(Op::Attention(attention)), branch(feed_forward)];
        Block { sublayers: vec![SubLayer { norm: None, ..SubLayer::new(self.norm, Op::Parallel(branches)) }] }
    }

    /// What a rotation needs to know.
    pub fn head_to_rotate(&self) -> rope::Head {
        rope::Head {
            head_dim: self.attention.head_dim,
            context_length: self.context_length,
            original_context: None,
            partial: self.partial_rotary,
        }
    }

    pub fn model(self, name: &str, blocks: Vec<Block>) -> ModelConfig {
        ModelConfig {
            name: name.to_owned(),
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            context_length: self.context_length,
            encoder: None,
            relative_bias: None,
            embedding_scale: self.embedding_scale,
            learned_positions: false,
            layer_inputs: None,
            streams: None,
            blocks,
            final_norm: self.norm,
            head: self.head,
        }
    }
}

fn intermediate_size(keys: &Keys<'_>, defaults: &Defaults, hidden_size: u32) -> Result<u32> {
    if !defaults.four_times {
        return keys.or("intermediate_size", defaults.intermediate_size);
    }
    match keys.nullable("intermediate_size", None)? {
        Some(size) => Ok(size),
        None => hidden_size
            .checked_mul(4)
            .ok_or_else(|| keys.error("hidden_size", "fewer than 2^32 hidden units", hidden_size)),
    }
}

fn attention(keys: &Keys<'_>, defaults: &Defaults, hidden_size: u32) -> Result<Attention> {
    let heads = keys.or("num_attention_heads", defaults.heads)?;
    let kv_heads = keys.nullable("num_key_value_heads", defaults.kv_heads)?.unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        let expected = format!("a divisor of the {heads} attention heads");
        return Err(keys.error("num_key_value_heads", expected, kv_heads));
    }
    let head_dim = match keys.nullable("head_dim", defaults.head_dim)? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => {
            let expected = format!("a divisor of hidden_size {hidden_size}, or a head_dim beside it");
            return Err(keys.error("num_attention_heads", expected, heads));
        }
    };
    Ok(Attention { heads, kv_heads, head_dim, scale: inverse_sqrt(head_dim.into()), ..Attention::default() })
}

/// `n^-0.5`, rounded once.
pub(super) fn inverse_sqrt(n: f64) -> f32 {
    n.sqrt().recip() as f32
}

fn activation(keys: &Keys<'_>, (key, default): (&str, &str)) -> Result<Activation> {
    activation_named(keys, key, &keys.or(key, default.to_owned())?)
}

/// The activation that transformers calls so, found under a key.
pub(super) fn activation_named(keys: &Keys<'_>, key: &str, name: &str) -> Result<Activation> {
    match name {
        "relu" => Ok(Activation::Relu),
        "relu2" => Ok(Activation::Relu2),
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::GeluErf),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err(keys.unsupported(key, other, "known are relu, relu2, silu, gelu and gelu_pytorch_tanh")),
    }
}
