//! Llama 1 to 3 (arXiv 2302.13971, 2407.21783): pre-norm, rotary positions, SwiGLU.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::rope;
use crate::Result;
use crate::model::config::{Attention, FeedForward, ModelConfig, Op};
use crate::model::naming::{LayerNames, Naming};

pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    four_times: false,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: None,
    context_length: 2048,
    norm_eps: 1e-6,
    activation: ("hidden_act", "silu"),
    tied: false,
    partial_rotary: None,
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let bias = keys.or("attention_bias", false)?;
    let attention = Attention {
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let feed_forward = FeedForward { bias: keys.or("mlp_bias", false)?, ..decoder.feed_forward };
    let block = decoder.block(attention, Op::FeedForward(feed_forward));
    let blocks = vec![block; decoder.layers];
    Ok((decoder.model("llama", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
