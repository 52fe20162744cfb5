//! Mixtral (arXiv 2401.04088): Llama with experts, two per token, and perhaps a sliding window on every layer.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, Experts, ModelConfig, Op, Routing};
use crate::model::naming::{LayerNorms, Naming};

const DEFAULTS: Defaults = Defaults {
    intermediate_size: 14_336,
    kv_heads: Some(8),
    context_length: 131_072,
    norm_eps: 1e-5,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let attention = Attention {
        window: keys.nullable("sliding_window", None)?,
        rope: Some(rope::uniform(keys, &decoder, 1_000_000.0)?),
        ..decoder.attention.clone()
    };
    let count = keys.or("num_local_experts", keys.or("num_experts", 8)?)?;
    let top_k = keys.or("num_experts_per_tok", 2)?;
    if top_k > count {
        return Err(keys.error("num_experts_per_tok", format!("at most the {count} experts"), top_k));
    }
    let routing = Routing::SoftmaxTopk { renormalize: true };
    let experts = Experts { count, top_k, routing, expert: decoder.feed_forward };
    let block = decoder.block(attention, Op::Experts(experts));
    let blocks = vec![block; decoder.layers];
    Ok((decoder.model("mixtral", blocks), Naming::hugging_face(LayerNorms::Before)))
}
