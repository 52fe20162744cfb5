//! Checkpoints of any description, filled at random.

use wattle::model::Source;
use wattle::model::checkpoint::Checkpoint;
use wattle::model::config::{ModelConfig, Op};
use wattle::model::naming::Naming;
use wattle::model::slot::{Place, Role, slots};

use super::random::Random;

/// A checkpoint in memory: matrices that keep the scale of what they multiply, vectors around one.
pub fn fill(config: ModelConfig, random: &mut Random) -> Source {
    let tensors: Vec<_> = slots(&config)
        .map(|(slot, shape)| {
            let count = shape.iter().product();
            let mut values = random.gaussian(count);
            let (scale, offset) = match shape[..] {
                [_, cols] => (1.0 / (cols as f32).sqrt(), 0.0),
                _ => (0.3, 0.2),
            };
            values.iter_mut().for_each(|value| *value = *value * scale + offset);
            if slot.role == Role::ExpertTable {
                // Neighbours from any expert on, so that a row has each once.
                let experts = experts_at(&config, slot.place);
                for row in values.chunks_mut(shape[1]) {
                    let first = (random.bits() % u64::from(experts)) as u32;
                    row.iter_mut().zip(first..).for_each(|(value, n)| *value = (n % experts) as f32);
                }
            }
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (Naming::Native.tensor_name(slot), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    let checkpoint = Checkpoint::from_bytes(vec![("model.safetensors".into(), file)]).unwrap();
    Source { config, naming: Naming::Native, checkpoint }
}

/// Experts of a sub-layer.
fn experts_at(config: &ModelConfig, place: Place) -> u32 {
    let count = config.ops().find_map(|(at, op)| match op {
        Op::Experts(experts) if at == place => Some(experts.count),
        _ => None,
    });
    count.unwrap_or_else(|| panic!("no experts at {place:?}"))
}
