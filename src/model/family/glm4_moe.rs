//! GLM-4.5 (arXiv 2508.06471): DeepSeek-V3's router, half of each head rotated, biases on Q, K and V.

use super::decoder::{Decoder, Defaults};
use super::experts::{DeepSeek, deepseek};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_552,
    intermediate_size: 10_944,
    layers: 46,
    heads: 96,
    kv_heads: Some(8),
    context_length: 131_072,
    norm_eps: 1e-5,
    partial_rotary: Some(0.5),
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let attention = Attention {
        qk_norm: keys.or("use_qk_norm", false)?.then_some(decoder.norm),
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: keys.or("attention_bias", false)?,
        ..decoder.attention.clone()
    };
    let (dense, experts) = deepseek(keys, &decoder, &DeepSeek::COMMON)?;
    let block = |layer: usize| {
        let op = if layer < dense { Op::FeedForward(decoder.feed_forward) } else { Op::Experts(experts) };
        decoder.block(attention.clone(), op)
    };
    let blocks = (0..decoder.layers).map(block).collect();
    Ok((decoder.model("glm4_moe", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
