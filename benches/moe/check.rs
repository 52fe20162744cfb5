//! Holds a kind of model against the CPU reference, at a size that the reference can compute.

use wattle::Gpu;
use wattle::model::config::{Block, ModelConfig, Op, Routing};
use wattle::reference::forward::Conditions;
use wattle::verify::{self, Device};

use super::case::Case;
use super::random::Random;
use super::support::Result;
use super::{expected, fill};

/// Tokens of a prompt, no two of which are alike, and of its answer: one row has other kernels than many.
const TOKENS: u32 = 30;
const ANSWER: usize = 3;
const VOCAB: u32 = 64;

/// Neither divides the other, or is divided by a tile.
const WIDTH: u32 = 72;
const HIDDEN: u32 = 40;
const MOST_EXPERTS: u32 = 16;

/// The first block with the same routing, norms and activations, small. Cases that have the same are of one kind.
pub fn small(config: &ModelConfig) -> ModelConfig {
    let mut blocks: Vec<Block> = config.blocks.iter().take(1).cloned().collect();
    blocks.iter_mut().flat_map(|block| &mut block.sublayers).for_each(|sublayer| shrink(&mut sublayer.op));
    ModelConfig {
        name: "check".into(),
        vocab_size: VOCAB,
        hidden_size: WIDTH,
        context_length: VOCAB,
        blocks,
        ..config.clone()
    }
}

fn shrink(op: &mut Op) {
    match op {
        Op::FeedForward(network) => network.hidden = HIDDEN,
        Op::Experts(experts) => {
            experts.count = experts.count.min(MOST_EXPERTS);
            experts.expert.hidden = HIDDEN;
            if let Routing::Base { epsilon } = &mut experts.routing {
                // So fine that logits which differ in their last bits lead to the same assignment, of so few that a device gets there.
                (*epsilon, experts.count) = (1e-6, MOST_EXPERTS / 2);
            }
        }
        Op::Parallel(branches) => branches.iter_mut().for_each(|branch| shrink(&mut branch.op)),
        Op::Attention(_) | Op::CrossAttention(_) | Op::LatentAttention(_) | Op::LayerInput(_) => {}
    }
}

/// The prompt whole and in chunks, and its answer: routes, hidden states and logits.
pub fn check(gpu: &Gpu, case: &Case) -> Result<()> {
    let source = fill::fill(small(&case.config), &mut Random::new(1));
    let weights = expected::weights(&source, &case.plan());
    let conditions = Conditions { task: Some(0), training: case.training(), ..Conditions::default() };
    let ids = (0..TOKENS).map(|n| 7 * n % VOCAB).collect();
    let prompts = vec![expected::prompt(&source, &weights, conditions, ids, ANSWER)];
    let small = verify::Case { name: "check".into(), source, prompts, conditions };
    let device = Device::Gpu(gpu.clone());
    let report = gpu.block_on(verify::check(&small, &device, &case.plan(), case.path))?;
    match report.passed() {
        true => Ok(()),
        false => Err(format!("{}, {}, {}, small: {report}", case.config.name, case.format, case.path).into()),
    }
}
