//! Qwen3 (arXiv 2505.09388): Llama with norms over the heads of Q and K, and perhaps a sliding window on some layers.

use super::decoder::{Decoder, Defaults};
use super::keys::{Keys, Whole};
use super::layers::{LayerType, layer_types, window};
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    intermediate_size: 22_016,
    kv_heads: Some(32),
    head_dim: Some(128),
    context_length: 32_768,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let bias = keys.or("attention_bias", false)?;
    let global = Attention {
        qk_norm: Some(decoder.norm),
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let slides = keys.or("use_sliding_window", false)?;
    let Whole(first) = keys.or("max_window_layers", Whole(28))?;
    let has_window = slides && keys.nullable("sliding_window", Some(4096))?.is_some();
    let known = [LayerType::Full, LayerType::Sliding];
    let types = layer_types(keys, decoder.layers, &known, |layer| {
        if has_window && layer >= first as usize { LayerType::Sliding } else { LayerType::Full }
    })?;
    if let Some(layer) = types.iter().position(|of| *of == LayerType::Sliding && !slides) {
        let expected = format!("true, as layer {layer} slides");
        return Err(keys.error("use_sliding_window", expected, slides));
    }
    let window = window(keys, &types, Some(4096))?;
    let block = |of: LayerType| {
        let window = window.filter(|_| of == LayerType::Sliding);
        decoder.block(Attention { window, ..global.clone() }, Op::FeedForward(decoder.feed_forward))
    };
    let blocks = types.into_iter().map(block).collect();
    Ok((decoder.model("qwen3", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
