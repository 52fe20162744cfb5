//! Gemma 1 (arXiv 2403.08295): unit-offset norms before each sub-layer, GEGLU, scaled embeddings that are also the head; every
//! layer global.

use super::decoder::{Defaults, inverse_sqrt};
use super::keys::Keys;
use super::{gemma, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    hidden_size: 3072,
    intermediate_size: 24_576,
    layers: 28,
    heads: 16,
    kv_heads: Some(16),
    activation: ("hidden_act", "gelu_pytorch_tanh"),
    ..gemma::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let mut decoder = gemma::decoder(keys, &DEFAULTS)?;
    decoder.post_norm = None;
    let attention = Attention {
        scale: inverse_sqrt(decoder.attention.head_dim.into()),
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        ..decoder.attention.clone()
    };
    let block = decoder.block(attention, Op::FeedForward(decoder.feed_forward));
    let blocks = vec![block; decoder.layers];
    Ok((decoder.model("gemma", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
