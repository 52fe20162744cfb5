//! OLMoE (arXiv 2409.02060): norms over all of Q and of K, experts whose weights are not divided by their sum.

use super::decoder::{Decoder, Defaults};
use super::experts::{counts, experts};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op, Routing};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_304,
    hidden_size: 2048,
    intermediate_size: 2048,
    layers: 16,
    heads: 16,
    context_length: 4096,
    norm_eps: 1e-5,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    keys.refuse("sliding_window", "the reference implementation's layers see every token")?;
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let bias = keys.or("attention_bias", false)?;
    let attention = Attention {
        qk_norm: Some(decoder.norm),
        qk_norm_of_all_heads: true,
        qkv_clip: keys.nullable("clip_qkv", None)?,
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let counts = counts(keys, ["num_experts", "num_local_experts"], [64, 8])?;
    let routing = Routing::softmax_topk(keys.or("norm_topk_prob", false)?);
    let sparse = Op::Experts(experts(&decoder, counts, decoder.feed_forward.hidden, routing));
    let blocks = vec![decoder.block(attention, sparse); decoder.layers];
    Ok((decoder.model("olmoe", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
