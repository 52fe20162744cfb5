//! dots.llm1 (arXiv 2506.05767): DeepSeek-V3's router, norms over the heads of Q and K, perhaps layers that slide.

use super::decoder::{Decoder, Defaults};
use super::experts::{DeepSeek, deepseek};
use super::keys::{Keys, Whole};
use super::layers::{LayerType, layer_types, window};
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 152_064,
    hidden_size: 4608,
    intermediate_size: 10_944,
    layers: 62,
    ..llama::DEFAULTS
};

const ROUTER: DeepSeek =
    DeepSeek { counts: [128, 6], shared: None, dense: 0, renormalize: false, ..DeepSeek::COMMON };

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let slides = keys.nullable("sliding_window", Some(4096))?.is_some();
    let Whole(first) = keys.nullable("max_window_layers", None)?.unwrap_or(Whole(62));
    let known = [LayerType::Full, LayerType::Sliding];
    let types = layer_types(keys, decoder.layers, &known, |layer| {
        if slides && layer >= first as usize { LayerType::Sliding } else { LayerType::Full }
    })?;
    let window = window(keys, &types, Some(4096))?;
    let bias = keys.or("attention_bias", false)?;
    let global = Attention {
        qk_norm: Some(decoder.norm),
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let (dense, experts) = deepseek(keys, &decoder, &ROUTER)?;
    let block = |(layer, of): (usize, LayerType)| {
        let window = window.filter(|_| of == LayerType::Sliding);
        let op = if layer < dense { Op::FeedForward(decoder.feed_forward) } else { Op::Experts(experts) };
        decoder.block(Attention { window, ..global.clone() }, op)
    };
    let blocks = types.into_iter().enumerate().map(block).collect();
    Ok((decoder.model("dots1", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
