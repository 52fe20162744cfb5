//! Mistral (arXiv 2310.06825): Llama with shared key/value heads and, unless a file says otherwise, a sliding window on every
//! layer.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Op};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS: Defaults =
    Defaults { intermediate_size: 14_336, kv_heads: Some(8), context_length: 131_072, ..llama::DEFAULTS };

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let attention = Attention {
        window: keys.nullable("sliding_window", Some(4096))?,
        rope: Some(rope::uniform(keys, &decoder, 10_000.0)?),
        ..decoder.attention.clone()
    };
    let block = decoder.block(attention, Op::FeedForward(decoder.feed_forward));
    let blocks = vec![block; decoder.layers];
    Ok((decoder.model("mistral", blocks), Naming::hugging_face(LayerNames::PRE_NORM)))
}
