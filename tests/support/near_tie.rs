//! A model whose routers cannot decide, and what another implementation could have computed from it.

use std::path::Path;

use wattle::model::checkpoint::Checkpoint;
use wattle::model::config::{ExpertGroups, Experts, GroupScore, Op, Routing};
use wattle::model::naming::Naming;
use wattle::model::plan::WeightPlan;
use wattle::model::slot::{Role, slots};
use wattle::model::{Source, open};
use wattle::quant::WeightFormat;
use wattle::reference::forward::Conditions;
use wattle::verify::Case;

use crate::expected;

const GREEDY: usize = 8;

/// Golden Mixtral with two experts that the routers hold to be equally good but for a lead of `lead` of the second,
/// which the expected outputs have and the model itself has only where `model_has_lead`.
pub fn case(golden: &Path, lead: f32, model_has_lead: bool) -> Case {
    of(open(golden.join("mixtral")).unwrap(), 1, led(lead, model_has_lead))
}

/// The same of two groups of two experts, of which a token chooses from one alone.
pub fn case_of_groups(golden: &Path, lead: f32, model_has_lead: bool) -> Case {
    let groups = |experts: &mut Experts| {
        let Routing::Topk(topk) = &mut experts.routing else { return };
        topk.groups = Some(ExpertGroups { count: experts.count / 2, limit: 1, score: GroupScore::TwoBest });
    };
    of(routed(golden, groups), 2, led(lead, model_has_lead))
}

/// The same of a sparse mixer, whose second expert is by `lead` within what has a part in the first one's weight; the model's own is by
/// as much outside, or within where `model_has_lead`.
pub fn case_of_mixers(golden: &Path, lead: f32, model_has_lead: bool) -> Case {
    let jitter = 0.01;
    let edge = 1.0 - 2.0 * jitter;
    let factors = [edge + lead, if model_has_lead { edge + lead } else { edge - lead }];
    of(routed(golden, |experts| experts.routing = Routing::SparseMixer { jitter }), 1, factors)
}

/// Golden Mixtral with another rule.
fn routed(golden: &Path, change: impl Fn(&mut Experts)) -> Source {
    let mut original = open(golden.join("mixtral")).unwrap();
    for sublayer in original.config.blocks.iter_mut().flat_map(|block| &mut block.sublayers) {
        if let Op::Experts(experts) = &mut sublayer.op {
            change(experts);
        }
    }
    original
}

/// What the second of two is of the first, in the model that gives the expected outputs and in the model itself.
fn led(lead: f32, model_has_lead: bool) -> [f32; 2] {
    [1.0 + lead, if model_has_lead { 1.0 + lead } else { 1.0 }]
}

fn of(original: Source, rows: usize, [expected, own]: [f32; 2]) -> Case {
    let leading = with_copies(&original, rows, expected);
    // Prompts of one token part from what is expected while generating, the others before.
    let long: Vec<u32> = (0..23).map(|n| 5 * n + 3).collect();
    let prompts = (0..6).map(|n| vec![17 * n + 2]).chain([long]);
    let weights = expected::weights(&leading, &WeightPlan::uniform(WeightFormat::F32));
    let prompts =
        prompts.map(|ids| expected::prompt(&leading, &weights, Conditions::default(), ids, GREEDY)).collect();
    let source = with_copies(&original, rows, own);
    Case { name: "near tie".into(), source, prompts, conditions: Conditions::default() }
}

/// The model with some rows of each router copies of the as many before, times a factor.
fn with_copies(original: &Source, rows: usize, factor: f32) -> Source {
    let config = original.config.clone();
    let d = config.hidden_size as usize;
    let tensors: Vec<_> = slots(&config)
        .map(|(slot, shape)| {
            let mut values = original.fetch(slot, &shape).unwrap();
            if slot.role == Role::Router {
                let (first, second) = values.split_at_mut(rows * d);
                second.iter_mut().zip(first).for_each(|(second, first)| *second = *first * factor);
            }
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (Naming::Native.tensor_name(slot), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    let checkpoint = Checkpoint::from_bytes(vec![("model.safetensors".into(), file)]).unwrap();
    Source { config, naming: Naming::Native, checkpoint }
}
