//! Models changed for comparison: fewer blocks, and branches one after the other.

use wattle::model::config::{ModelConfig, Op, SubLayer};

/// The first blocks of a model.
pub fn first(mut config: ModelConfig, count: usize) -> ModelConfig {
    config.blocks.truncate(count);
    config
}

/// A model whose branches come one after the other, each with the norm that they had in common; nothing where there are none.
pub fn serial(config: &ModelConfig) -> Option<ModelConfig> {
    let mut serial = config.clone();
    for block in &mut serial.blocks {
        block.sublayers = block.sublayers.drain(..).flat_map(branches).collect();
    }
    serial.name += " serial";
    (serial.blocks != config.blocks).then_some(serial)
}

fn branches(sublayer: SubLayer) -> Vec<SubLayer> {
    match sublayer {
        // What else is done with a sum of branches is done with none of them alone.
        SubLayer {
            norm,
            op: Op::Parallel(branches),
            width: None,
            post_norm: None,
            output_factor: None,
            ..
        } => branches.into_iter().map(|branch| SubLayer { norm: branch.norm.or(norm), ..branch }).collect(),
        other => vec![other],
    }
}
