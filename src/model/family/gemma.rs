//! What Gemma 2 and 3 have in common: unit-offset norms before and after each sub-layer, GEGLU, scaled embeddings that
//! are also the head, local and global layers.

use super::decoder::{Decoder, Defaults, inverse_sqrt};
use super::keys::Keys;
use super::layers::{LayerType, layer_types, window};
use crate::Result;
use crate::model::config::{Attention, Block, ModelConfig, NormKind, Op};
use crate::model::naming::{LayerNames, Naming};

/// Those of Gemma 2.
pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    four_times: false,
    layers: 26,
    heads: 8,
    kv_heads: Some(4),
    head_dim: Some(256),
    context_length: 8192,
    norm_eps: 1e-6,
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    tied: true,
    partial_rotary: None,
};

/// The common part of a description, with a scale of its own for scores.
pub(super) fn decoder(keys: &Keys<'_>, defaults: &Defaults) -> Result<Decoder> {
    keys.only("attention_bias", false, "no published Gemma has biases")?;
    keys.only("use_bidirectional_attention", false, "attention here is causal")?;
    let mut decoder = Decoder::read(keys, defaults)?;
    decoder.norm.kind = NormKind::RmsUnitOffset;
    decoder.post_norm = Some(decoder.norm);
    decoder.embedding_scale = f64::from(decoder.hidden_size).sqrt() as f32;
    decoder.attention.scale = inverse_sqrt(keys.or("query_pre_attn_scalar", 256.0)?);
    Ok(decoder)
}

/// The model: each layer has local attention, with a sliding window, or global, as `layer_types` says, or all but every `period`-th one.
pub(super) fn model(
    name: &str,
    keys: &Keys<'_>,
    decoder: Decoder,
    local_and_global: [Attention; 2],
    period: u32,
) -> Result<(ModelConfig, Naming)> {
    let blocks = blocks(keys, &decoder, local_and_global, period)?;
    Ok((decoder.model(name, blocks), Naming::hugging_face(LayerNames::PRE_AND_POST_NORM)))
}

fn blocks(
    keys: &Keys<'_>,
    decoder: &Decoder,
    [local, global]: [Attention; 2],
    period: u32,
) -> Result<Vec<Block>> {
    let known = [LayerType::Full, LayerType::Sliding];
    let types = layer_types(keys, decoder.layers, &known, |layer| {
        let is_global = (layer + 1).is_multiple_of(period as usize);
        if is_global { LayerType::Full } else { LayerType::Sliding }
    })?;
    let local = Attention { window: window(keys, &types, Some(4096))?, ..local };
    let block = |of: LayerType| {
        let attention = if of == LayerType::Sliding { &local } else { &global };
        decoder.block(attention.clone(), Op::FeedForward(decoder.feed_forward))
    };
    Ok(types.into_iter().map(block).collect())
}
