//! What sort of attention each layer has.

use super::keys::Keys;
use crate::Result;

/// What a query of a layer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayerType {
    /// All keys before it.
    Full,
    /// The last few.
    Sliding,
    /// Those of its chunk.
    Chunked,
}

impl LayerType {
    const NAMES: [(&'static str, Self); 3] = [
        ("full_attention", Self::Full),
        ("sliding_attention", Self::Sliding),
        ("chunked_attention", Self::Chunked),
    ];
}

/// What `layer_types` says of each layer, of the types that a family knows; where it says nothing, what `default` says.
pub(super) fn layer_types(
    keys: &Keys<'_>,
    layers: usize,
    known: &[LayerType],
    default: impl Fn(usize) -> LayerType,
) -> Result<Vec<LayerType>> {
    let Some(types) = keys.nullable::<Vec<String>>("layer_types", None)? else {
        return Ok((0..layers).map(default).collect());
    };
    if types.len() != layers {
        return Err(keys.error("layer_types", format!("one for each of {layers} layers"), types.len()));
    }
    let mut names = LayerType::NAMES.into_iter().filter(|(_, of)| known.contains(of));
    let names: Vec<_> = names.by_ref().collect();
    let find = |layer_type: &String| match names.iter().find(|(name, _)| name == layer_type) {
        Some((_, found)) => Ok(*found),
        None => {
            let known: Vec<&str> = names.iter().rev().map(|(name, _)| *name).collect();
            Err(keys.unsupported("layer_types", layer_type, format!("known are {}", known.join(" and "))))
        }
    };
    types.iter().map(find).collect()
}

/// The window of sliding layers, which a model must have that has such layers.
pub(super) fn window(keys: &Keys<'_>, types: &[LayerType], default: Option<u32>) -> Result<Option<u32>> {
    match types.iter().position(|of| *of == LayerType::Sliding) {
        None => Ok(None),
        Some(layer) => match keys.nullable("sliding_window", default)? {
            None => Err(keys.error("sliding_window", format!("a number, as layer {layer} slides"), "null")),
            window => Ok(window),
        },
    }
}
