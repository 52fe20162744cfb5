//! Rotary positions, in the key styles of old and new files.

use super::decoder::Decoder;
use super::keys::{Keys, NotNegative};
use crate::Result;
use crate::model::config::{Rope, RopeLayout, RopeScaling};

/// Every key that [`read`] knows; another one would change the positions in a way it cannot tell.
const KNOWN: [&str; 14] = [
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    ORIGINAL_CONTEXT,
    "partial_rotary_factor",
    "beta_fast",
    "beta_slow",
    "truncate",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
];

const ORIGINAL_CONTEXT: &str = "original_max_position_embeddings";

/// What is rotated.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub head_dim: u32,
    /// Most tokens of a sequence.
    pub context_length: u32,
    /// Most tokens of a sequence in training, where a file says it outside of the rotation.
    pub original_context: Option<u32>,
    /// The part that is rotated, where a family rotates parts.
    pub partial: Option<f64>,
}

/// Why a part of a head is refused.
pub(super) const WHOLE_HEADS: &str = "these families rotate whole heads";

/// One rotation for all layers: `rope_scaling` in older files, `rope_parameters` in newer ones, and `rope_theta` beside
/// them. An empty `rope_scaling` is none, and a length beside them is that of training whatever they say (transformers
/// 5.23, `modeling_rope_utils.py`).
pub(super) fn uniform(keys: &Keys<'_>, decoder: &Decoder, default_theta: f64) -> Result<Rope> {
    let parameters = parameters(keys)?;
    let theta = keys.or("rope_theta", default_theta)?;
    let original_context = keys.nullable(ORIGINAL_CONTEXT, None)?;
    read(parameters.as_ref(), Head { original_context, ..decoder.head_to_rotate() }, theta)
}

/// `mscale_all_dim` of [`uniform`]'s parameters, 0 where there is none: how much of the magnitude of stretched positions scores
/// take, in families that know it.
pub(super) fn magnitude_of_scores(keys: &Keys<'_>) -> Result<f64> {
    let Some(parameters) = parameters(keys)? else { return Ok(0.0) };
    Ok(parameters.nullable("mscale_all_dim", None)?.map_or(0.0, |NotNegative(scale)| scale))
}

/// The parameters of one rotation for all layers.
fn parameters<'a>(keys: &'a Keys<'_>) -> Result<Option<Keys<'a>>> {
    match keys.child("rope_scaling")?.filter(|scaling| !scaling.is_empty()) {
        Some(scaling) => Ok(Some(scaling)),
        None => keys.child("rope_parameters"),
    }
}

/// The rotation that an object of parameters describes; `theta` holds where it gives none.
pub(super) fn read(parameters: Option<&Keys<'_>>, head: Head, theta: f64) -> Result<Rope> {
    let Some(keys) = parameters else {
        let (rotary_dim, layout) = (rotary_dim(head, head.partial), RopeLayout::HalfSplit);
        return Ok(Rope { theta, rotary_dim, layout, scaling: RopeScaling::None });
    };
    let theta = keys.or("rope_theta", theta)?;
    let scaling = scaling(keys, head)?;
    keys.known(&KNOWN, "its effect on positions is not known here")?;
    let partial = match (head.partial, scaling) {
        // The whole head takes part in it.
        (_, RopeScaling::Proportional { .. }) => None,
        (Some(partial), _) => Some(keys.or("partial_rotary_factor", partial)?),
        (None, _) => {
            keys.only("partial_rotary_factor", 1.0, WHOLE_HEADS)?;
            None
        }
    };
    let rotary_dim = rotary_dim(head, partial);
    if rotary_dim == 0 {
        let expected = format!("a part of the head's {} that is not empty", head.head_dim);
        return Err(keys.error("partial_rotary_factor", expected, partial.unwrap_or(0.0)));
    }
    Ok(Rope { theta, rotary_dim, layout: RopeLayout::HalfSplit, scaling })
}

/// Elements of a head that are rotated.
fn rotary_dim(head: Head, partial: Option<f64>) -> u32 {
    partial.map_or(head.head_dim, |partial| (f64::from(head.head_dim) * partial) as u32)
}

fn scaling(keys: &Keys<'_>, head: Head) -> Result<RopeScaling> {
    let old_name = keys.or("type", "default".to_owned())?;
    Ok(match keys.or("rope_type", old_name)?.as_str() {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: keys.required("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: keys.required("factor")?,
            low_freq_factor: keys.required("low_freq_factor")?,
            high_freq_factor: keys.required("high_freq_factor")?,
            original_context: original_context(keys, head)?,
        },
        "yarn" => yarn(keys, head)?,
        "proportional" => {
            let part = keys.or("partial_rotary_factor", 1.0)?;
            let pairs = ((part * f64::from(head.head_dim)) as u32 / 2).min(head.head_dim / 2);
            RopeScaling::Proportional { pairs, factor: keys.or("factor", 1.0)? }
        }
        other => {
            let known = "known are default, linear, llama3, yarn and proportional";
            return Err(keys.unsupported("rope_type", other, known));
        }
    })
}

/// Most tokens of a sequence in training.
fn original_context(keys: &Keys<'_>, head: Head) -> Result<u32> {
    let within = keys.or(ORIGINAL_CONTEXT, head.context_length)?;
    Ok(head.original_context.unwrap_or(within))
}

/// YaRN, with the magnitude that its paper suggests where the file has none (arXiv 2309.00071, section 3.4; DeepSeek-V2's
/// `mscale` as in transformers 5.23, `modeling_rope_utils.py`).
fn yarn(keys: &Keys<'_>, head: Head) -> Result<RopeScaling> {
    let original_context = original_context(keys, head)?;
    let stretched = f64::from(head.context_length) / f64::from(original_context);
    let factor = keys.nullable("factor", None)?.unwrap_or(stretched);
    let magnitude_of = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
    let scale = |key| Ok(keys.nullable(key, None)?.map_or(0.0, |NotNegative(scale)| scale));
    let [own, all] = [scale("mscale")?, scale("mscale_all_dim")?];
    let magnitude = match keys.nullable("attention_factor", None)? {
        Some(magnitude) => magnitude,
        None if own > 0.0 && all > 0.0 => magnitude_of(own) / magnitude_of(all),
        None => magnitude_of(1.0),
    };
    Ok(RopeScaling::Yarn {
        factor,
        beta_fast: keys.nullable("beta_fast", None)?.unwrap_or(32.0),
        beta_slow: keys.nullable("beta_slow", None)?.unwrap_or(1.0),
        truncate: keys.or("truncate", true)?,
        magnitude,
        original_context,
    })
}
