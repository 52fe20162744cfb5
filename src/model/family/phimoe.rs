//! Phi-3.5-MoE (arXiv 2404.14219): LayerNorms, biases, and two experts from a sparse mixer.

use super::decoder::{Decoder, Defaults};
use super::experts::{counts, experts};
use super::keys::{Keys, NotNegative};
use super::{llama, mixtral, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, NormKind, Op, Routing};
use crate::model::naming::Naming;

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_064,
    intermediate_size: 6400,
    kv_heads: Some(8),
    context_length: 131_072,
    norm_eps: 1e-5,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.norm.kind = NormKind::LayerNormBias;
    decoder.head.bias = keys.or("lm_head_bias", false)?;
    let bias = keys.or("attention_bias", false)?;
    let attention = Attention {
        window: keys.nullable("sliding_window", None)?,
        rope: Some(rope::uniform(keys, &decoder, 1_000_000.0)?),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let counts = counts(keys, ["num_local_experts", "num_experts"], [16, 2])?;
    if counts[1] != 2 {
        let why = "the reference implementation mixes two experts whatever it says";
        return Err(keys.unsupported("num_experts_per_tok", counts[1], why));
    }
    let NotNegative(jitter) = keys.or("router_jitter_noise", NotNegative(0.01))?;
    let routing = Routing::SparseMixer { jitter: jitter as f32 };
    let sparse = Op::Experts(experts(&decoder, counts, decoder.feed_forward.hidden, routing));
    let blocks = vec![decoder.block(attention, sparse); decoder.layers];
    Ok((decoder.model("phimoe", blocks), Naming::hugging_face(mixtral::NAMES)))
}
