//! Qwen1.5-MoE and Qwen2-MoE (arXiv 2407.10671): Llama with biases on Q, K and V, experts, and one gated expert that every token
//! uses.

use super::decoder::{Decoder, Defaults};
use super::experts::{counts, experts, sparse_layers};
use super::keys::{Keys, Whole};
use super::layers::{LayerType, layer_types, window};
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, Experts, FeedForward, ModelConfig, Op, Routing, SharedExpert};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    layers: 24,
    heads: 16,
    kv_heads: Some(16),
    context_length: 32_768,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let slides = keys.or("use_sliding_window", false)?;
    let Whole(most) = keys.or("max_window_layers", Whole(28))?;
    let known = [LayerType::Full, LayerType::Sliding];
    let types = layer_types(keys, decoder.layers, &known, |layer| {
        if slides && layer.is_multiple_of(2) && layer < most as usize {
            LayerType::Sliding
        } else {
            LayerType::Full
        }
    })?;
    let window = window(keys, &types, Some(4096))?;
    let global = Attention {
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: keys.or("qkv_bias", true)?,
        ..decoder.attention.clone()
    };
    let counts = counts(keys, ["num_experts", "num_local_experts"], [60, 4])?;
    let routing = Routing::softmax_topk(keys.or("norm_topk_prob", false)?);
    let sparse = experts(&decoder, counts, keys.or("moe_intermediate_size", 1408)?, routing);
    let hidden = keys.or("shared_expert_intermediate_size", 5632)?;
    let shared = SharedExpert { expert: FeedForward { hidden, ..decoder.feed_forward }, gated: true };
    let sparse = Op::Experts(Experts { shared: Some(shared), ..sparse });
    let layers = sparse_layers(keys, decoder.layers)?.into_iter().zip(types);
    let block = |(is_sparse, of): (bool, LayerType)| {
        let window = window.filter(|_| of == LayerType::Sliding);
        let op = if is_sparse { sparse.clone() } else { Op::FeedForward(decoder.feed_forward) };
        decoder.block(Attention { window, ..global.clone() }, op)
    };
    let blocks = layers.map(block).collect();
    let names = LayerNames { shared_expert: "mlp.shared_expert", ..LayerNames::PRE_NORM };
    Ok((decoder.model("qwen2_moe", blocks), Naming::hugging_face(names)))
}
