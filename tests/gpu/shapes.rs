//! Whole models of odd shapes that no case was tuned to: random descriptions with random weights, on the device
//! against the CPU reference.

use std::collections::BTreeMap;

use wattle::model::Source;
use wattle::model::checkpoint::Checkpoint;
use wattle::model::config::{
    Activation, Attention, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Rope,
    RopeLayout, RopeScaling, Routing, SubLayer,
};
use wattle::model::naming::Naming;
use wattle::model::plan::WeightPlan;
use wattle::model::slot::slots;
use wattle::quant::{WeightFormat, Width};
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, check};

use crate::expected;
use crate::harness::{block_on, gpu};
use crate::select::wants_everything;
use crate::support::random::Random;

/// Lengths of the prompts: one token, and enough to wrap every window.
const PROMPTS: [usize; 2] = [1, 23];
const GREEDY: usize = 5;

#[test]
fn random_models_are_those_of_the_reference() {
    let count = if wants_everything() { 60 } else { 6 };
    check_models(0..count, &["f32", "int4", "f16", "int2", "f32", "int8"], ProductPath::Float);
}

#[test]
fn random_models_round_their_inputs_as_the_reference_does() {
    let count = if wants_everything() { 30 } else { 3 };
    check_models(100..100 + count, &["int4:64", "int8", "int2:planes"], ProductPath::Integer);
}

fn check_models(seeds: std::ops::Range<u64>, formats: &[&str], path: ProductPath) {
    for seed in seeds {
        let mut random = Random::new(seed);
        let config = describe(&mut random);
        config.validate().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{config:#?}"));
        let source = fill(config, &mut random);
        let plan = WeightPlan::uniform(formats[seed as usize % formats.len()].parse().unwrap());
        let plan = with_widths(plan, &source.config, &mut Random::new(seed));
        let case = expect(source, &plan, &mut random);
        let device = Device::Gpu(gpu().with_baseline(seed % 2 == 0));
        let report = block_on(check(&case, &device, &plan, path))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(report.passed(), "seed {seed}, {}: {report}\n{:#?}", plan.linear, case.source.config);
    }
}

/// Where weights are integers, every other expert at a width of its own.
fn with_widths(mut plan: WeightPlan, config: &ModelConfig, random: &mut Random) -> WeightPlan {
    for (block, _, layer) in config.sublayers() {
        let Op::Experts(experts) = &layer.op else { continue };
        let mut any = || Width::ALL[between(random, 0, 7) as usize];
        let widths: BTreeMap<_, _> = (0..experts.count as usize).step_by(2).map(|e| (e, any())).collect();
        let least = plan.expert_widths.get(&block).map_or(usize::MAX, BTreeMap::len);
        // A block may have several layers of experts, of which the smallest has the last word.
        if matches!(plan.experts, WeightFormat::Int(_)) && widths.len() < least {
            plan.expert_widths.insert(block, widths);
        }
    }
    plan
}

fn describe(random: &mut Random) -> ModelConfig {
    let norm = norm(random);
    let mut model = ModelConfig {
        name: "random".into(),
        vocab_size: between(random, 2, 70),
        hidden_size: between(random, 1, 70),
        context_length: 64,
        embedding_scale: 1.5,
        blocks: Vec::new(),
        final_norm: norm,
        head: Head { tied: coin(random), softcap: coin(random).then_some(9.0) },
    };
    for _ in 0..between(random, 1, 3) {
        let sublayers = (0..between(random, 1, 3)).map(|_| sublayer(random)).collect();
        model.blocks.push(Block { sublayers });
    }
    model
}

fn sublayer(random: &mut Random) -> SubLayer {
    let op = match between(random, 0, 2) {
        0 => Op::Attention(attention(random)),
        1 => Op::FeedForward(feed_forward(random)),
        _ => {
            let count = between(random, 1, 9);
            let routing = Routing::SoftmaxTopk { renormalize: coin(random) };
            Op::Experts(Experts {
                count,
                top_k: between(random, 1, count),
                routing,
                expert: feed_forward(random),
            })
        }
    };
    SubLayer { norm: norm(random), op, post_norm: coin(random).then(|| norm(random)) }
}

fn attention(random: &mut Random) -> Attention {
    let (kv_heads, head_dim) = (between(random, 1, 3), between(random, 1, 40));
    let rotary_dim = 2 * between(random, 0, head_dim / 2);
    let layout = if coin(random) { RopeLayout::HalfSplit } else { RopeLayout::Interleaved };
    let scaling = if coin(random) { RopeScaling::Linear { factor: 4.0 } } else { RopeScaling::None };
    let qk_norm = coin(random).then_some(Norm { kind: NormKind::RmsUnitOffset, eps: 1e-6 });
    Attention {
        heads: kv_heads * between(random, 1, 10),
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        window: coin(random).then(|| between(random, 1, 9)),
        softcap: coin(random).then_some(5.0),
        qk_norm,
        rope: (rotary_dim > 0).then_some(Rope { theta: 1e4, rotary_dim, layout, scaling }),
        qkv_bias: coin(random),
        out_bias: coin(random),
    }
}

fn feed_forward(random: &mut Random) -> FeedForward {
    use Activation::{GeluErf, GeluTanh, Relu, Relu2, Silu};
    let activation = [Relu, Relu2, Silu, GeluTanh, GeluErf][between(random, 0, 4) as usize];
    FeedForward { hidden: between(random, 1, 70), activation, gated: coin(random), bias: coin(random) }
}

fn norm(random: &mut Random) -> Norm {
    use NormKind::{LayerNorm, LayerNormBias, Rms, RmsUnitOffset};
    // Not too small: a row of one element has no variance, and its LayerNorm would only magnify rounding.
    Norm { kind: [Rms, RmsUnitOffset, LayerNorm, LayerNormBias][between(random, 0, 3) as usize], eps: 1e-2 }
}

/// A checkpoint in memory: matrices that keep the scale of what they multiply, vectors around one.
fn fill(config: ModelConfig, random: &mut Random) -> Source {
    let tensors: Vec<_> = slots(&config)
        .map(|(slot, shape)| {
            let count = shape.iter().product();
            let mut values = random.gaussian(count);
            let (scale, offset) = match shape[..] {
                [_, cols] => (1.0 / (cols as f32).sqrt(), 0.0),
                _ => (0.3, 0.2),
            };
            values.iter_mut().for_each(|value| *value = *value * scale + offset);
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

/// What the reference computes with the weights as stored.
fn expect(source: Source, plan: &WeightPlan, random: &mut Random) -> Case {
    let config = &source.config;
    let weights = expected::weights(&source, plan);
    let prompts = PROMPTS.map(|length| {
        let ids = (0..length).map(|_| between(random, 0, config.vocab_size - 1)).collect();
        expected::prompt(&source, &weights, ids, GREEDY)
    });
    Case { name: "random".into(), source, prompts: prompts.into() }
}

fn between(random: &mut Random, least: u32, most: u32) -> u32 {
    least + (random.bits() % u64::from(most - least + 1)) as u32
}

fn coin(random: &mut Random) -> bool {
    random.bits().is_multiple_of(2)
}
