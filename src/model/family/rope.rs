//! Rotary positions, in the key styles of old and new files.

use super::decoder::Decoder;
use super::keys::Keys;
use crate::Result;
use crate::model::config::{Rope, RopeLayout, RopeScaling};

/// Every key that [`read`] knows; another one would change the positions in a way it cannot tell.
const KNOWN: [&str; 8] = [
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
];

/// Why a part of a head is refused.
pub(super) const WHOLE_HEADS: &str = "these families rotate whole heads";

/// One rotation for all layers: `rope_scaling` in older files, `rope_parameters` in newer ones, and `rope_theta` beside
/// them. An empty `rope_scaling` is none, and a length beside them is that of training whatever they say (transformers
/// 5.23, `modeling_rope_utils.py`).
pub(super) fn uniform(keys: &Keys<'_>, decoder: &Decoder, default_theta: f64) -> Result<Rope> {
    let parameters = match keys.child("rope_scaling")?.filter(|scaling| !scaling.is_empty()) {
        Some(scaling) => Some(scaling),
        None => keys.child("rope_parameters")?,
    };
    let mut rope = read(parameters.as_ref(), decoder, keys.or("rope_theta", default_theta)?)?;
    if let RopeScaling::Llama3 { original_context, .. } = &mut rope.scaling {
        *original_context = keys.or("original_max_position_embeddings", *original_context)?;
    }
    Ok(rope)
}

/// The rotation that an object of parameters describes; `theta` holds where it gives none.
pub(super) fn read(parameters: Option<&Keys<'_>>, decoder: &Decoder, theta: f64) -> Result<Rope> {
    let (theta, scaling) = match parameters {
        Some(keys) => (keys.or("rope_theta", theta)?, scaling(keys, decoder.context_length)?),
        None => (theta, RopeScaling::None),
    };
    let layout = RopeLayout::HalfSplit;
    Ok(Rope { theta, rotary_dim: decoder.attention.head_dim, layout, scaling })
}

fn scaling(keys: &Keys<'_>, context_length: u32) -> Result<RopeScaling> {
    let old_name = keys.or("type", "default".to_owned())?;
    let scaling = match keys.or("rope_type", old_name)?.as_str() {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: keys.required("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: keys.required("factor")?,
            low_freq_factor: keys.required("low_freq_factor")?,
            high_freq_factor: keys.required("high_freq_factor")?,
            original_context: keys.or("original_max_position_embeddings", context_length)?,
        },
        other => return Err(keys.unsupported("rope_type", other, "known are default, linear and llama3")),
    };
    keys.only("partial_rotary_factor", 1.0, WHOLE_HEADS)?;
    keys.known(&KNOWN, "its effect on positions is not known here")?;
    Ok(scaling)
}
