//! Mixtral (arXiv 2401.04088): Llama with experts, two per token, and perhaps a sliding window on every layer.

use super::decoder::{Decoder, Defaults};
use super::experts::{counts, experts};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op, Routing};
use crate::model::naming::{EachExpert, ExpertNames, LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    intermediate_size: 14_336,
    kv_heads: Some(8),
    context_length: 131_072,
    norm_eps: 1e-5,
    ..llama::DEFAULTS
};

/// Experts number their matrices: w1 is the gate, w3 up, w2 down.
pub(super) const NAMES: LayerNames = LayerNames {
    router: "block_sparse_moe.gate",
    experts: ExpertNames::Each(EachExpert { list: "block_sparse_moe.experts", matrices: ["w1", "w3", "w2"] }),
    ..LayerNames::PRE_NORM
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let attention = Attention {
        window: keys.nullable("sliding_window", None)?,
        rope: Some(rope::uniform(keys, &decoder, 1_000_000.0)?),
        ..decoder.attention.clone()
    };
    let counts = counts(keys, ["num_local_experts", "num_experts"], [8, 2])?;
    let experts = experts(&decoder, counts, decoder.feed_forward.hidden, Routing::softmax_topk(true));
    let block = decoder.block(attention, Op::Experts(experts));
    let blocks = vec![block; decoder.layers];
    Ok((decoder.model("mixtral", blocks), Naming::hugging_face(NAMES)))
}
