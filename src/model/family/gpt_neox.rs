//! GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373): attention and a plain network, each after a LayerNorm of its own, side
//! by side or one after the other; heads rotated in part.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, FeedForward, ModelConfig, NormKind, Op};
use crate::model::naming::{AttentionNames, FusedQkv, LayerNames, ModelNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_432,
    hidden_size: 6144,
    intermediate_size: 24_576,
    layers: 44,
    heads: 64,
    norm_eps: 1e-5,
    activation: ("hidden_act", "gelu"),
    partial_rotary: Some(0.25),
    ..llama::DEFAULTS
};

const KEYS: &[(&str, &str)] = &[
    ("rms_norm_eps", "layer_norm_eps"),
    ("rope_theta", "rotary_emb_base"),
    ("partial_rotary_factor", "rotary_pct"),
];

const MODEL_NAMES: ModelNames = ModelNames {
    body: "gpt_neox.",
    embedding: "embed_in",
    final_norm: "final_layer_norm",
    head: "embed_out",
    ..ModelNames::LLAMA
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let keys = &keys.with_names(KEYS);
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.norm.kind = NormKind::LayerNormBias;
    let bias = keys.or("attention_bias", true)?;
    let Attention { heads, head_dim, .. } = decoder.attention;
    let attention = Attention {
        kv_heads: heads,
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let feed_forward = Op::FeedForward(FeedForward { gated: false, bias: true, ..decoder.feed_forward });
    let block = match keys.or("use_parallel_residual", true)? {
        true => decoder.parallel_block_of_two_norms(attention, feed_forward),
        false => decoder.block(attention, feed_forward),
    };
    let blocks = vec![block; decoder.layers];
    let fused = FusedQkv { name: "query_key_value", heads, kv_heads: heads, head_dim };
    let names = LayerNames {
        model: MODEL_NAMES,
        attention: AttentionNames {
            module: "attention",
            out: "dense",
            fused: Some(fused),
            ..AttentionNames::LLAMA
        },
        matrices: ["", "dense_h_to_4h", "dense_4h_to_h"],
        ..LayerNames::PRE_NORM
    };
    Ok((decoder.model("gpt_neox", blocks), Naming::hugging_face(names)))
}
