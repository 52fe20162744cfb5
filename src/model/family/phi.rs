//! Phi-1 to Phi-2 (arXiv 2306.11644): attention and a plain network side by side after one LayerNorm, biases everywhere, heads
//! rotated in part.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, FeedForward, ModelConfig, NormKind, Op};
use crate::model::naming::{AttentionNames, LayerNames, ModelNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 51_200,
    hidden_size: 2048,
    intermediate_size: 8192,
    layers: 24,
    norm_eps: 1e-5,
    activation: ("hidden_act", "gelu_new"),
    partial_rotary: Some(0.5),
    ..llama::DEFAULTS
};

const NAMES: LayerNames = LayerNames {
    model: ModelNames { final_norm: "final_layernorm", ..ModelNames::LLAMA },
    attention: AttentionNames {
        out: "dense",
        norms: ["q_layernorm", "k_layernorm"],
        ..AttentionNames::LLAMA
    },
    matrices: ["", "fc1", "fc2"],
    ..LayerNames::PRE_NORM
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let keys = &keys.with_names(&[("rms_norm_eps", "layer_norm_eps")]);
    keys.only("tie_word_embeddings", false, "the head has biases, and so a matrix of its own here")?;
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.norm.kind = NormKind::LayerNormBias;
    decoder.head.bias = true;
    let attention = Attention {
        qk_norm: keys.or("qk_layernorm", false)?.then_some(decoder.norm),
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: true,
        out_bias: true,
        ..decoder.attention.clone()
    };
    let feed_forward = FeedForward { gated: false, bias: true, ..decoder.feed_forward };
    let blocks = vec![decoder.parallel_block(attention, Op::FeedForward(feed_forward)); decoder.layers];
    Ok((decoder.model("phi", blocks), Naming::hugging_face(NAMES)))
}
