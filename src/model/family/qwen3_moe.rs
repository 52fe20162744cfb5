//! Qwen3-MoE (arXiv 2505.09388): norms over the heads of Q and K, many small experts.

use super::decoder::{Decoder, Defaults};
use super::experts::{counts, experts, sparse_layers};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op, Routing};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 6144,
    layers: 24,
    heads: 32,
    kv_heads: Some(4),
    context_length: 32_768,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let bias = keys.or("attention_bias", false)?;
    let slides = keys.or("use_sliding_window", false)?;
    let attention = Attention {
        window: if slides { keys.nullable("sliding_window", Some(4096))? } else { None },
        qk_norm: Some(decoder.norm),
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let counts = counts(keys, ["num_local_experts", "num_experts"], [128, 8])?;
    let routing = Routing::softmax_topk(keys.or("norm_topk_prob", false)?);
    let sparse = Op::Experts(experts(&decoder, counts, keys.or("moe_intermediate_size", 768)?, routing));
    let block = |is_sparse: bool| {
        let op = if is_sparse { sparse.clone() } else { Op::FeedForward(decoder.feed_forward) };
        decoder.block(attention.clone(), op)
    };
    let blocks = sparse_layers(keys, decoder.layers)?.into_iter().map(block).collect();
    Ok((decoder.model("qwen3_moe", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
