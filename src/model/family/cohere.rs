//! Cohere's Command R: attention and a gated network side by side after one LayerNorm without biases, heads rotated neighbour
//! with neighbour, scaled logits, and perhaps LayerNorms of each head of Q and K with weights of its own.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, NormKind, Op, Rope, RopeLayout};
use crate::model::naming::{AttentionNames, LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 256_000,
    hidden_size: 8192,
    intermediate_size: 22_528,
    layers: 40,
    heads: 64,
    context_length: 8192,
    norm_eps: 1e-5,
    tied: true,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let keys = &keys.with_names(&[("rms_norm_eps", "layer_norm_eps")]);
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.norm.kind = NormKind::LayerNorm;
    decoder.head.scale = keys.nullable("logit_scale", Some(0.0625))?.unwrap_or(1.0);
    let bias = keys.or("attention_bias", false)?;
    let qk_norm = keys.or("use_qk_norm", false)?;
    let rope = rope::uniform(keys, &decoder, 500_000.0)?;
    let attention = Attention {
        qk_norm: qk_norm.then_some(decoder.norm),
        qk_norm_by_head: qk_norm,
        rope: Some(Rope { layout: RopeLayout::Interleaved, ..rope }),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let names = LayerNames {
        attention: AttentionNames { norm_cols: Some(attention.head_dim), ..AttentionNames::LLAMA },
        ..LayerNames::PRE_NORM
    };
    let block = decoder.parallel_block(attention, Op::FeedForward(decoder.feed_forward));
    let blocks = vec![block; decoder.layers];
    Ok((decoder.model("cohere", blocks), Naming::hugging_face(names)))
}
