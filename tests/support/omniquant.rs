//! A golden checkpoint with what OmniQuant might have learned of every weight beside it.

use wattle::model::Source;
use wattle::model::checkpoint::Checkpoint;
use wattle::model::slot::{Part, Role, Slot, slots};

/// Inputs of a block, for factors by block.
const BLOCK: usize = 32;

/// A tensor of a checkpoint.
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A part with its shape and values.
type Learned = (Part, Vec<usize>, Vec<f32>);

/// The checkpoint with gamma, beta, delta and s beside every weight that may have them, and with `change` made to all
/// its tensors.
pub fn source(original: Source, change: impl FnOnce(&mut Vec<Tensor>)) -> Source {
    let Source { config, naming, .. } = &original;
    let mut tensors = Vec::new();
    for (n, (slot, shape)) in slots(config).enumerate() {
        let values = original.fetch(slot, &shape).unwrap();
        tensors.push(Tensor { name: naming.tensor_name(slot), shape: shape.clone(), values });
        if slot.part == Part::Weight && shape.len() == 2 && slot.role != Role::Router {
            let of = |(part, shape, values)| Tensor {
                name: naming.tensor_name(Slot { part, ..slot }),
                shape,
                values,
            };
            tensors.extend(clips(n, &shape).map(of));
            tensors.extend(transform(slot, shape[1]).into_iter().flatten().map(of));
        }
    }
    change(&mut tensors);
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, tensor.shape.clone(), bytes);
        (tensor.name.clone(), view.unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    let checkpoint = Checkpoint::from_bytes(vec![("model.safetensors".into(), file)]).unwrap();
    Source { checkpoint, ..original }
}

/// Upper ends come in a little and lower ends more, so that it matters which is which; by output or by block, by turns.
fn clips(n: usize, shape: &[usize]) -> [Learned; 2] {
    let (rows, blocks) = (shape[0], shape[1].div_ceil(BLOCK));
    let shapes = [vec![rows], vec![rows, blocks], vec![rows, 1]];
    [(Part::Gamma, 0.9, n), (Part::Beta, 0.7, n / 2)].map(|(part, least, turn)| {
        let shape = shapes[turn % 3].clone();
        let values = spread(n, shape.iter().product()).map(|v| least + v / 10.0).collect();
        (part, shape, values)
    })
}

/// The same for all matrices of one input. Heads alone have none where they are tied; every third sub-layer's is a
/// shift or a scale alone.
fn transform(slot: Slot, inputs: usize) -> [Option<Learned>; 2] {
    let at = slot.place.at().map_or(1, |at| 2 * at.block + at.sublayer + 2);
    let group = match slot.role {
        Role::Embedding => return [None, None],
        Role::Q | Role::K | Role::V | Role::Gate | Role::Up => 0,
        _ => 1,
    };
    let seed = 31 * at + group;
    let delta = spread(seed, inputs).map(|v| v - 0.5).collect();
    let s = spread(seed + 7, inputs).map(|v| 0.5 + 1.5 * v).collect();
    let delta = (at % 3 != 1).then_some((Part::Delta, vec![inputs], delta));
    let s = (at % 3 != 2 || group == 1).then_some((Part::Scale, vec![inputs], s));
    [delta, s]
}

/// Numbers from 0 to 1 that look random: multiples of the golden ratio.
fn spread(seed: usize, count: usize) -> impl Iterator<Item = f32> {
    (1..=count).map(move |n| (0.618_033_988_749_895 * (n + 1000 * seed) as f64).fract() as f32)
}
