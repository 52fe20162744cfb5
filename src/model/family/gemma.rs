//! What Gemma 2 and 3 have in common: unit-offset norms before and after each sub-layer, GEGLU, scaled embeddings that
//! are also the head, local and global layers.

use super::decoder::{Decoder, Defaults, inverse_sqrt};
use super::keys::Keys;
use crate::Result;
use crate::model::config::{Attention, Block, ModelConfig, NormKind, Op};
use crate::model::naming::{LayerNorms, Naming};

/// Those of Gemma 2.
pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    layers: 26,
    heads: 8,
    kv_heads: Some(4),
    head_dim: Some(256),
    context_length: 8192,
    norm_eps: 1e-6,
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    tied: true,
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

/// The model: each layer has local attention, with a sliding window, or global, as [`is_local`] says.
pub(super) fn model(
    name: &str,
    keys: &Keys<'_>,
    decoder: Decoder,
    local_and_global: [Attention; 2],
    period: u32,
) -> Result<(ModelConfig, Naming)> {
    let blocks = blocks(keys, &decoder, local_and_global, period)?;
    Ok((decoder.model(name, blocks), Naming::hugging_face(LayerNorms::BeforeAndAfter)))
}

fn blocks(
    keys: &Keys<'_>,
    decoder: &Decoder,
    [local, global]: [Attention; 2],
    period: u32,
) -> Result<Vec<Block>> {
    let window = keys.nullable("sliding_window", Some(4096))?;
    let is_local = is_local(keys, decoder.layers, period)?;
    if let (None, Some(layer)) = (window, is_local.iter().position(|local| *local)) {
        return Err(keys.error("sliding_window", format!("a number, as layer {layer} slides"), "null"));
    }
    let local = Attention { window, ..local };
    let block = |is_local: bool| {
        let attention = if is_local { &local } else { &global };
        decoder.block(attention.clone(), Op::FeedForward(decoder.feed_forward))
    };
    Ok(is_local.into_iter().map(block).collect())
}

/// Which layers are local: those `layer_types` says, or all but every `period`-th.
fn is_local(keys: &Keys<'_>, layers: usize, period: u32) -> Result<Vec<bool>> {
    let Some(types) = keys.nullable::<Vec<String>>("layer_types", None)? else {
        return Ok((1..=layers).map(|nth| nth % period as usize != 0).collect());
    };
    if types.len() != layers {
        return Err(keys.error("layer_types", format!("one for each of {layers} layers"), types.len()));
    }
    let is_local = |layer_type: &String| match layer_type.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => {
            Err(keys.unsupported("layer_types", other, "known are sliding_attention and full_attention"))
        }
    };
    types.iter().map(is_local).collect()
}
