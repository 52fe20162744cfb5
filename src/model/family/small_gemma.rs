//! What Gemma 3n and the small models of Gemma 4 have in common: last layers that see the keys and values of earlier ones, and
//! embeddings of each layer.

use super::decoder::Decoder;
use super::keys::{Keys, Whole};
use super::layers::LayerType;
use crate::Result;
use crate::model::config::{LayerInput, LayerInputs, Norm, Op, SubLayer};
use crate::model::slot::{Place, SubLayerPlace};

/// For each layer the attention whose keys and values it sees, if they are not its own: the last layers, as many as
/// `num_kv_shared_layers` says, see those of the last layer before them of their own type.
pub(super) fn kv_sources(
    keys: &Keys<'_>,
    types: &[LayerType],
    default: u32,
) -> Result<Vec<Option<SubLayerPlace>>> {
    let key = "num_kv_shared_layers";
    let Whole(sharing) = keys.or(key, Whole(default))?;
    let Some(first) = types.len().checked_sub(sharing as usize) else {
        return Err(keys.error(key, format!("at most the {} layers", types.len()), sharing));
    };
    let source = |(layer, of): (usize, &LayerType)| {
        if layer < first {
            return Ok(None);
        }
        match types[..first].iter().rposition(|other| other == of) {
            Some(block) => Ok(Place::sublayer(block, 0).at()),
            None => {
                let expected = format!("fewer, so that a layer of the type of layer {layer} has keys");
                Err(keys.error(key, expected, sharing))
            }
        }
    };
    types.iter().enumerate().map(source).collect()
}

/// What gives each layer an embedding of its own. Where a file says that they are 0 wide there is none.
///
/// The reference implementation multiplies the projection by `d^-0.5` before its norm, which is as if the norm added `d` times as
/// much, and the sum by `2^-0.5`, which is a part of what multiplies the table here, and of the norm's scale
/// (transformers 5.23, `project_per_layer_inputs`).
pub(super) fn layer_inputs(keys: &Keys<'_>, decoder: &Decoder) -> Result<Option<LayerInputs>> {
    let Whole(width) = keys.or("hidden_size_per_layer_input", Whole(256))?;
    if width == 0 {
        return Ok(None);
    }
    let eps = f64::from(decoder.norm.eps) * f64::from(decoder.hidden_size);
    Ok(Some(LayerInputs {
        width,
        vocab_size: keys.or("vocab_size_per_layer_input", 262_144)?,
        embedding_scale: (f64::from(width) / 2.0).sqrt() as f32,
        norm: Norm { eps: eps as f32, ..decoder.norm },
    }))
}

/// The sub-layer that reads it, which ends a layer.
pub(super) fn layer_input(decoder: &Decoder) -> SubLayer {
    let op = Op::LayerInput(LayerInput { activation: decoder.feed_forward.activation });
    SubLayer { norm: None, post_norm: Some(decoder.norm), ..SubLayer::new(decoder.norm, op) }
}
