//! Gemma 3 (arXiv 2503.19786): Gemma 2 with five local layers to a global one, norms on Q and K instead of soft
//! caps, and positions of their own for local and global layers.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::{gemma, rope};
use crate::Result;
use crate::model::config::{Attention, ModelConfig, Rope};
use crate::model::naming::Naming;

const DEFAULTS: Defaults = Defaults { vocab_size: 262_208, context_length: 131_072, ..gemma::DEFAULTS };

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    keys.refuse("attn_logit_softcapping", "the reference implementation ignores it for this family")?;
    let mut decoder = gemma::decoder(keys, &DEFAULTS)?;
    decoder.attention.qk_norm = Some(decoder.norm);
    decoder.head.softcap = keys.nullable("final_logit_softcapping", None)?;
    let local_and_global =
        ropes(keys, &decoder)?.map(|rope| Attention { rope: Some(rope), ..decoder.attention.clone() });
    let period = keys.or("sliding_window_pattern", 6)?;
    gemma::model("gemma3_text", keys, decoder, local_and_global, period)
}

/// The rotations of local and of global layers. An old file scales the global ones only, by a `rope_scaling` whose keys go
/// over those of `full_attention` (transformers 5.23, `configuration_gemma3.py`).
pub(super) fn ropes(keys: &Keys<'_>, decoder: &Decoder) -> Result<[Rope; 2]> {
    let parameters = keys.child("rope_parameters")?;
    if let Some(parameters) = &parameters {
        parameters
            .known(&["sliding_attention", "full_attention"], "rotations are given for each type of layer")?;
    }
    let of_type = |key| parameters.as_ref().map_or(Ok(None), |parameters| parameters.child(key));
    let local = of_type("sliding_attention")?;
    let full = of_type("full_attention")?;
    let global = match keys.child("rope_scaling")? {
        Some(scaling) => Some(scaling.over(full.as_ref())),
        None => full,
    };
    Ok([
        rope::read(local.as_ref(), decoder.head_to_rotate(), keys.or("rope_local_base_freq", 10_000.0)?)?,
        rope::read(global.as_ref(), decoder.head_to_rotate(), keys.or("rope_theta", 1_000_000.0)?)?,
    ])
}
