//! Whole models of odd shapes that no case was tuned to: random descriptions with random weights, on the device
//! against the CPU reference.

use std::collections::BTreeMap;

use wattle::model::Source;
use wattle::model::config::{
    Activation, Alibi, Attention, Block, Capacity, Encoder, ExpertGroups, Experts, FeedForward, GateClamp,
    GrantOrder, GroupScore, Head, Hierarchical, LatentAttention, Later, LayerInput, LayerInputs, ModelConfig,
    Norm, NormKind, Op, RelativeBias, Rope, RopeLayout, RopeScaling, Routing, Score, Share, SharedExpert,
    Streams, SubLayer, Temperature, Topk, WeightOn,
};
use wattle::model::plan::WeightPlan;
use wattle::model::slot::Stack;
use wattle::quant::{WeightFormat, Width};
use wattle::reference::forward::Conditions;
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, check};

use crate::expected;
use crate::fill::fill;
use crate::harness::{block_on, gpu};
use crate::select::{every, wants_everything};
use crate::support::random::Random;

/// Lengths of the prompts: one token, and enough to wrap every window.
const PROMPTS: [usize; 2] = [1, 23];
const GREEDY: usize = 5;
const TASKS: u32 = 6;

#[test]
fn random_models_are_those_of_the_reference() {
    let count = if wants_everything() { 60 } else { 6 };
    check_models(0..count, &["f32", "int4", "f16", "int2", "f32", "int8"], ProductPath::Float, describe);
}

/// Attention that sees the keys of earlier ones, and embeddings of each layer, in any model.
#[test]
fn random_models_share_keys_and_embed_layers_as_the_reference_does() {
    let count = if wants_everything() { 30 } else { 4 };
    check_models(200..200 + count, &["f32", "int8", "f16", "int4"], ProductPath::Float, describe_small);
}

#[test]
fn random_models_round_their_inputs_as_the_reference_does() {
    let count = if wants_everything() { 30 } else { 3 };
    check_models(100..100 + count, &["int4:64", "int8", "int2:planes"], ProductPath::Integer, describe);
}

#[test]
fn random_models_of_latents_are_those_of_the_reference() {
    let count = if wants_everything() { 40 } else { 4 };
    let formats = ["f32", "int4", "f16", "int8:channel"];
    check_models(0..count, &formats, ProductPath::Float, describe_with_latents);
    check_models(50..51, &["int8"], ProductPath::Integer, describe_with_latents);
}

/// The same with an encoder before them.
#[test]
fn random_encoders_with_decoders_are_those_of_the_reference() {
    let count = if wants_everything() { 30 } else { 4 };
    let formats = ["f32", "int8", "f16", "int4"];
    check_models(200..200 + count, &formats, ProductPath::Float, describe_with_encoder);
    check_models(300..301, &["int8"], ProductPath::Integer, describe_with_encoder);
}

/// Several residual streams, with what goes with them in Gemma 3n, in any model.
#[test]
fn random_models_mix_streams_as_the_reference_does() {
    let count = if wants_everything() { 30 } else { 4 };
    check_models(300..300 + count, &["f32", "int8", "f16", "int4"], ProductPath::Float, describe_streams);
}

fn check_models(
    seeds: std::ops::Range<u64>,
    formats: &[&str],
    path: ProductPath,
    describe: fn(&mut Random) -> ModelConfig,
) {
    let mut failures = Vec::new();
    for seed in every(1, seeds) {
        let mut random = Random::new(seed);
        let mut config = describe(&mut random);
        vary(&mut config, &mut Random::new(1000 + seed));
        config.validate().unwrap_or_else(|error| panic!("seed {seed}: {error}\n{config:#?}"));
        let source = fill(config, &mut random);
        let plan = WeightPlan::uniform(formats[seed as usize % formats.len()].parse().unwrap());
        let plan = with_widths(plan, &source.config, &mut Random::new(seed));
        let case = expect(source, &plan, &mut random, path);
        let device = Device::Gpu(gpu().with_baseline(seed % 2 == 0));
        let report = block_on(check(&case, &device, &plan, path))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if !report.passed() {
            let experts: Vec<_> =
                case.source.config.ops().filter(|(_, op)| matches!(op, Op::Experts(_))).collect();
            failures
                .push(format!("seed {seed}, {}, {:?}: {report}\n{experts:?}", plan.linear, case.conditions));
        }
    }
    assert!(failures.is_empty(), "{} models failed\n{}", failures.len(), failures.join("\n"));
}

/// Where weights are integers, every other expert at a width of its own; an encoder's have none.
fn with_widths(mut plan: WeightPlan, config: &ModelConfig, random: &mut Random) -> WeightPlan {
    for (place, op) in config.ops_of(Stack::Decoder) {
        let (Op::Experts(experts), Some(at)) = (op, place.at()) else { continue };
        let block = at.block;
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
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.5,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks: Vec::new(),
        final_norm: norm,
        head: Head { tied: coin(random), softcap: coin(random).then_some(9.0), ..Head::default() },
    };
    model.head.bias = !model.head.tied && coin(random);
    for _ in 0..between(random, 1, 3) {
        let sublayers = (0..between(random, 1, 3)).map(|_| sublayer(random)).collect();
        model.blocks.push(Block { sublayers });
    }
    tell_tokens_apart(&mut model);
    model
}

/// The same with an encoder, and attention to it anywhere in the decoder.
fn describe_with_encoder(random: &mut Random) -> ModelConfig {
    let mut model = describe(random);
    for block in &mut model.blocks {
        let at = between(random, 0, block.sublayers.len() as u32) as usize;
        let cross = cross_attention(random);
        let layer = match coin(random) {
            true => SubLayer { width: None, op: cross, ..sublayer(random) },
            false => {
                let beside = SubLayer { width: None, op: cross, ..branch(random) };
                SubLayer { width: None, op: Op::Parallel(vec![branch(random), beside]), ..sublayer(random) }
            }
        };
        block.sublayers.insert(at, layer);
    }
    let bias = |random: &mut Random| {
        let buckets = between(random, 4, 13);
        RelativeBias { buckets, max_distance: between(random, buckets / 2 + 1, 20) }
    };
    let heads = between(random, 1, 6);
    let attention_to = |random: &mut Random| {
        let attention = Attention { window: None, chunk: None, ..attention(random) };
        Op::Attention(Attention { heads, kv_heads: heads, bidirectional: true, ..attention })
    };
    let encoder_block = |random: &mut Random| {
        let sublayers = (0..between(random, 1, 2)).flat_map(|_| {
            let ops = [attention_to(random), chosen_by_tokens(random)];
            ops.map(|op| SubLayer { op, ..sublayer(random) })
        });
        Block { sublayers: sublayers.collect() }
    };
    let blocks = (0..between(random, 1, 2)).map(|_| encoder_block(random)).collect();
    let relative_bias = coin(random).then(|| bias(random));
    let start_id = between(random, 0, model.vocab_size - 1);
    model.encoder = Some(Encoder { blocks, final_norm: norm(random), start_id, relative_bias });
    // All attention that shares a bias has as many heads.
    let mut own = model.ops_of(Stack::Decoder).filter_map(|(_, op)| match op {
        Op::Attention(attention) => Some(attention.heads),
        _ => None,
    });
    let first = own.next();
    let alike = first.is_some_and(|first| own.all(|heads| heads == first));
    drop(own);
    model.relative_bias = alike.then(|| bias(random));
    model.head.scale = if coin(random) { 1.0 } else { 0.4 };
    model
}

/// A feed-forward network, or experts that tokens choose on their own.
fn chosen_by_tokens(random: &mut Random) -> Op {
    if coin(random) {
        return Op::FeedForward(feed_forward(random));
    }
    loop {
        let experts = experts(random);
        let unlimited = Experts { capacity: None, ..experts };
        if !unlimited.compares_tokens(true) {
            return Op::Experts(experts);
        }
    }
}

/// Other positions, and other norms of heads.
fn vary(model: &mut ModelConfig, random: &mut Random) {
    model.learned_positions = coin(random);
    model.head.scale = if coin(random) { 1.0 } else { 0.4 };
    // One bias by distance, not two.
    let has_bias = model.relative_bias.is_some();
    for attention in attentions(model) {
        let scale = if coin(random) { 1.0 } else { attention.scale };
        let alibi = coin(random).then_some(Alibi { scale, bf16: coin(random) });
        attention.alibi = alibi.filter(|_| !has_bias);
        if let Some(norm) = &mut attention.qk_norm
            && coin(random)
        {
            let kind = if coin(random) { NormKind::LayerNorm } else { NormKind::LayerNormBias };
            *norm = Norm { kind, eps: 1e-2 };
            (attention.qk_norm_of_all_heads, attention.v_norm) = (false, false);
            attention.qk_norm_by_head = coin(random);
        }
    }
}

fn cross_attention(random: &mut Random) -> Op {
    Op::CrossAttention(Attention {
        window: None,
        chunk: None,
        rope: None,
        qk_norm: None,
        qk_norm_of_all_heads: false,
        v_norm: false,
        qkv_clip: None,
        temperature: None,
        ..attention(random)
    })
}

/// Every attention of a model.
fn attentions(model: &mut ModelConfig) -> impl Iterator<Item = &mut Attention> {
    let layers = model.blocks.iter_mut().flat_map(|block| &mut block.sublayers);
    let ops = layers.flat_map(|layer| match &mut layer.op {
        Op::Parallel(branches) => branches.iter_mut().map(|branch| &mut branch.op).collect(),
        op => vec![op],
    });
    ops.filter_map(|op| match op {
        Op::Attention(attention) => Some(attention),
        _ => None,
    })
}

/// The same with what small models have besides.
fn describe_small(random: &mut Random) -> ModelConfig {
    let mut model = describe(random);
    let own = SubLayer { op: Op::Attention(attention(random)), width: None, ..sublayer(random) };
    model.blocks.push(Block { sublayers: vec![own] });
    model.layer_inputs = Some(LayerInputs {
        width: between(random, 1, 20),
        vocab_size: between(random, 1, model.vocab_size),
        embedding_scale: 1.3,
        norm: norm(random),
    });
    let owners: Vec<_> = model
        .ops()
        .filter_map(|(place, op)| match op {
            Op::Attention(attention) => Some((place.at()?, attention.clone())),
            _ => None,
        })
        .collect();
    for _ in 0..between(random, 1, 3) {
        let (source, owner) = owners[between(random, 0, owners.len() as u32 - 1) as usize].clone();
        let Attention { kv_heads, head_dim, window, chunk, .. } = owner;
        let any = attention(random);
        let rope = any.rope.filter(|rope| rope.rotary_dim <= head_dim);
        let heads = kv_heads * between(random, 1, 4);
        let kv_from = Some(source);
        let sharing = Attention {
            heads,
            kv_heads,
            head_dim,
            window,
            chunk,
            rope,
            kv_from,
            v_norm: false,
            v_is_k: false,
            ..any
        };
        let mut layers = vec![SubLayer { op: Op::Attention(sharing), ..sublayer(random) }];
        let activation = feed_forward(random).activation;
        layers.insert(
            between(random, 0, 1) as usize,
            SubLayer { op: Op::LayerInput(LayerInput { activation }), ..sublayer(random) },
        );
        model.blocks.push(Block { sublayers: layers });
    }
    model
}

/// The same on several residual streams, with kept inputs, factors and sparse gates.
fn describe_streams(random: &mut Random) -> ModelConfig {
    let mut model = describe_small(random);
    let count = between(random, 2, 4);
    let kind = if coin(random) { NormKind::Rms } else { NormKind::RmsUnitOffset };
    model.streams = Some(Streams {
        count,
        active: between(random, 0, count - 1),
        norm: Norm { kind, eps: 1e-2 },
        scaled: coin(random),
    });
    for block in &mut model.blocks {
        block.sublayers.sort_by_key(|layer| matches!(layer.op, Op::LayerInput(_)));
        for layer in &mut block.sublayers {
            layer.output_factor = (layer.post_norm.is_some() && coin(random)).then_some(0.7);
            match &mut layer.op {
                Op::LayerInput(_) => {
                    (layer.width, layer.output_scale, layer.output_factor) = (None, false, None);
                    layer.post_norm = Some(norm(random));
                }
                Op::FeedForward(ffn) if ffn.gated && !ffn.bias && ffn.clamp.is_none() => {
                    ffn.sparsity = coin(random).then_some(0.7);
                }
                Op::Parallel(branches) => {
                    let may = |branch: &SubLayer| {
                        branch.norm.is_none() && branch.post_norm.is_some() && branch.width.is_none()
                    };
                    branches.iter_mut().for_each(|branch| branch.keep_input = may(branch) && coin(random));
                }
                _ => {}
            }
        }
    }
    model
}

/// The same with attention over latents in place of other attention, and at least one.
fn describe_with_latents(random: &mut Random) -> ModelConfig {
    let mut model = describe(random);
    let norm = norm(random);
    let first = SubLayer::new(norm, Op::LatentAttention(latent_attention(random)));
    model.blocks[0].sublayers.insert(0, first);
    for layer in model.blocks.iter_mut().flat_map(|block| &mut block.sublayers) {
        let ops = match &mut layer.op {
            Op::Parallel(branches) => branches.iter_mut().map(|branch| &mut branch.op).collect(),
            op => vec![op],
        };
        for op in ops {
            if let Op::Attention(_) = op {
                *op = Op::LatentAttention(latent_attention(random));
            }
        }
    }
    model
}

fn latent_attention(random: &mut Random) -> LatentAttention {
    let layout = if coin(random) { RopeLayout::HalfSplit } else { RopeLayout::Interleaved };
    let (nope_dim, rotary_dim) = (between(random, 1, 40), 2 * between(random, 1, 20));
    let kind = if coin(random) { NormKind::RmsUnitOffset } else { NormKind::RmsUnweighted };
    LatentAttention {
        heads: between(random, 1, 10),
        q_latent: coin(random).then(|| between(random, 1, 50)),
        kv_latent: between(random, 1, 70),
        nope_dim,
        value_dim: between(random, 1, 40),
        latent_norm: Norm { kind, eps: 1e-2 },
        scale: 1.0 / ((nope_dim + rotary_dim) as f32).sqrt(),
        rope: Rope { theta: 1e4, rotary_dim, layout, scaling: RopeScaling::None },
        latent_bias: coin(random),
        out_bias: coin(random),
    }
}

/// Behind local attention, tokens with the same few before them are alike but for rounding, and which of those experts
/// choose is open: attention before them sees everything.
fn tell_tokens_apart(model: &mut ModelConfig) {
    let choose = |op: &Op| matches!(op, Op::Experts(Experts { routing: Routing::ExpertChoice { .. }, .. }));
    let Some(last) = model.ops().filter(|(_, op)| choose(op)).map(|(place, _)| place).last() else { return };
    let last = last.at().map(|at| (at.block, at.sublayer));
    let layers = model.blocks.iter_mut().enumerate();
    let layers = layers
        .flat_map(|(b, block)| block.sublayers.iter_mut().enumerate().map(move |(s, layer)| ((b, s), layer)));
    for (_, layer) in layers.filter(|(at, _)| Some(*at) <= last) {
        let ops = match &mut layer.op {
            Op::Parallel(branches) => branches.iter_mut().map(|branch| &mut branch.op).collect(),
            op => vec![op],
        };
        for op in ops {
            if let Op::Attention(attention) = op {
                (attention.window, attention.chunk) = (None, None);
            }
        }
    }
}

fn sublayer(random: &mut Random) -> SubLayer {
    let op = match between(random, 0, 6) {
        0 => Op::Parallel((0..between(random, 1, 3)).map(|_| branch(random)).collect()),
        _ => simple(random),
    };
    let post_norm = coin(random).then(|| norm(random));
    let output_scale = post_norm.is_some() && coin(random);
    SubLayer {
        norm: rarely_not(random).then(|| norm(random)),
        width: width(random),
        op,
        post_norm,
        output_scale,
        output_factor: None,
        keep_input: false,
    }
}

fn branch(random: &mut Random) -> SubLayer {
    let post_norm = coin(random).then(|| norm(random));
    let norm = coin(random).then(|| norm(random));
    SubLayer {
        norm,
        width: width(random),
        op: simple(random),
        post_norm,
        output_scale: false,
        output_factor: None,
        keep_input: false,
    }
}

fn width(random: &mut Random) -> Option<u32> {
    (!rarely_not(random)).then(|| between(random, 1, 70))
}

fn simple(random: &mut Random) -> Op {
    match between(random, 0, 2) {
        0 => Op::Attention(attention(random)),
        1 => Op::FeedForward(feed_forward(random)),
        _ => Op::Experts(experts(random)),
    }
}

fn experts(random: &mut Random) -> Experts {
    let count = between(random, 1, 9);
    let groups = [2, 3].into_iter().find(|groups| count.is_multiple_of(2 * groups)).filter(|_| coin(random));
    let groups = groups.map(|groups| ExpertGroups {
        count: groups,
        limit: between(random, 1, groups),
        score: if coin(random) { GroupScore::Best } else { GroupScore::TwoBest },
    });
    let most = groups.map_or(count, |groups| groups.limit * count / groups.count);
    let topk = Topk {
        renormalize: coin(random),
        scale: if coin(random) { 1.0 } else { 1.5 },
        selection_bias: coin(random),
        expert_scale: coin(random),
        groups,
        weight_on: if rarely_not(random) { WeightOn::Output } else { WeightOn::Input },
        ..Topk::of(if coin(random) { Score::Softmax } else { Score::Sigmoid })
    };
    let routing = match between(random, 0, 9) {
        0 => Routing::SparseMixer { jitter: 0.3 },
        1 => Routing::ExpertChoice { factor: [0.5, 1.0, 2.0][between(random, 0, 2) as usize] },
        2 => Routing::Sinkhorn { iterations: 8 },
        3 => Routing::Base { epsilon: 1e-3 },
        4 => [Routing::Hash, Routing::Task { tasks: TASKS }, Routing::Random { seed: 5 }]
            [between(random, 0, 2) as usize],
        5 => {
            let groups =
                (1..=count).rev().find(|groups| count.is_multiple_of(*groups) && 2 * groups <= count);
            let groups = groups.unwrap_or(1);
            let top_groups = between(random, 1, groups);
            Routing::Hierarchical(Hierarchical { groups, top_groups })
        }
        6 => {
            let later = [Later::AtLeast { share: 0.6 }, Later::Sampled { share: 0.9 }];
            let (later, noise) = (later[between(random, 0, 1) as usize], coin(random));
            let topk = Topk { expert_scale: false, weight_on: WeightOn::Output, ..topk };
            Routing::Topk(Topk { later, noise, ..topk })
        }
        _ => Routing::Topk(Topk { noise: coin(random), ..topk }),
    };
    let choices = match routing {
        Routing::Hierarchical(Hierarchical { groups, top_groups }) => {
            top_groups * between(random, 1, count / groups)
        }
        _ if routing.has_one_choice() => 1,
        Routing::Topk(Topk { groups: Some(_), .. }) => between(random, 1, most),
        _ => between(random, 1, count),
    };
    let limits = !routing.weighs_inputs() && !matches!(routing, Routing::ExpertChoice { .. });
    let mut expert = feed_forward(random);
    expert.bias &= !routing.weighs_inputs();
    Experts {
        capacity: (limits && !rarely_not(random)).then(|| capacity(random)),
        router_norm: (!rarely_not(random)).then(|| norm(random)),
        router_bias: routing.has_router() && coin(random),
        shared: coin(random).then(|| SharedExpert { expert: feed_forward(random), gated: coin(random) }),
        ..Experts::new(count, choices, routing, expert)
    }
}

fn capacity(random: &mut Random) -> Capacity {
    use GrantOrder::{ChoiceMajor, Priority, TokenMajor};
    let share = [Share::PerChoice, Share::PerToken, Share::Tokens][between(random, 0, 2) as usize];
    let factors = if share == Share::Tokens { [1.0, 2.0, 7.0] } else { [0.5, 1.0, 1.25] };
    Capacity {
        factor: factors[between(random, 0, 2) as usize],
        share,
        order: [ChoiceMajor, TokenMajor, Priority][between(random, 0, 2) as usize],
    }
}

fn attention(random: &mut Random) -> Attention {
    let (kv_heads, head_dim) = (between(random, 1, 3), between(random, 1, 40));
    let rotary_dim = 2 * between(random, 0, head_dim / 2);
    let layout = if coin(random) { RopeLayout::HalfSplit } else { RopeLayout::Interleaved };
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: coin(random),
        magnitude: 1.2,
        original_context: 16,
    };
    let scaling = match between(random, 0, 3) {
        0 => RopeScaling::None,
        1 => RopeScaling::Linear { factor: 4.0 },
        2 => yarn,
        _ => RopeScaling::Proportional { pairs: rotary_dim / 4, factor: 1.0 },
    };
    let kind = if coin(random) { NormKind::RmsUnitOffset } else { NormKind::RmsUnweighted };
    let qk_norm = coin(random).then_some(Norm { kind, eps: 1e-6 });
    let qk_norm_of_all_heads = qk_norm.is_some() && coin(random);
    let reach = coin(random).then(|| between(random, 1, 9));
    let in_chunks = coin(random);
    Attention {
        heads: kv_heads * between(random, 1, 10),
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        bidirectional: false,
        window: reach.filter(|_| !in_chunks),
        chunk: reach.filter(|_| in_chunks),
        softcap: coin(random).then_some(5.0),
        qk_norm,
        qk_norm_of_all_heads,
        qk_norm_by_head: false,
        alibi: None,
        v_norm: qk_norm.is_some() && !qk_norm_of_all_heads && coin(random),
        v_is_k: !rarely_not(random),
        kv_from: None,
        qkv_clip: (!rarely_not(random)).then_some(0.8),
        rope: (rotary_dim > 0).then_some(Rope { theta: 1e4, rotary_dim, layout, scaling }),
        temperature: (!rarely_not(random)).then_some(Temperature { scale: 0.1, floor: 3 }),
        sinks: coin(random),
        qkv_bias: coin(random),
        out_bias: coin(random),
    }
}

fn feed_forward(random: &mut Random) -> FeedForward {
    use Activation::{GeluErf, GeluTanh, Relu, Relu2, Silu};
    let activation = [Relu, Relu2, Silu, GeluTanh, GeluErf][between(random, 0, 4) as usize];
    let gated = coin(random);
    let clamp = GateClamp { alpha: 1.7, limit: 0.9 };
    FeedForward {
        gated,
        bias: coin(random),
        clamp: (gated && activation == Silu).then_some(clamp),
        ..FeedForward::plain(between(random, 1, 70), activation)
    }
}

/// Three times of four.
fn rarely_not(random: &mut Random) -> bool {
    between(random, 0, 3) > 0
}

fn norm(random: &mut Random) -> Norm {
    use NormKind::{LayerNorm, LayerNormBias, Rms, RmsUnitOffset, RmsUnweighted};
    // Not too small: a row of one element has no variance, and its LayerNorm would only magnify rounding.
    let kinds = [Rms, RmsUnitOffset, LayerNorm, LayerNormBias, RmsUnweighted];
    Norm { kind: kinds[between(random, 0, 4) as usize], eps: 1e-2 }
}

/// What the reference computes with the weights as stored.
fn expect(source: Source, plan: &WeightPlan, random: &mut Random, path: ProductPath) -> Case {
    let config = &source.config;
    // What a balance gives a token hangs on all tokens, so that its routes are not compared token by token, and no near tie of one
    // token excuses another choice. Where inputs are rounded to codes, its logits are others and so are its choices; and of
    // tokens that are alike it is open which an auction gives what. `balances` has models where neither is so.
    let balances = |op: &Op| match op {
        Op::Experts(Experts { routing: Routing::Base { .. }, .. }) => true,
        Op::Experts(Experts { routing: Routing::Sinkhorn { .. }, .. }) => path == ProductPath::Integer,
        _ => false,
    };
    let is_exact = !config.ops().any(|(_, op)| balances(op));
    let training = (coin(random) && is_exact).then_some(17);
    let task = Some(between(random, 0, TASKS - 1));
    let conditions = Conditions { task, training, ..Conditions::default() };
    let weights = expected::weights(&source, plan);
    let prompts = PROMPTS.map(|length| {
        let mut ids = |length| (0..length).map(|_| between(random, 0, config.vocab_size - 1)).collect();
        // The encoder's input is the longer one with the shorter prompt.
        let input = config.encoder.as_ref().map(|_| ids(PROMPTS[1] + 1 - length));
        expected::prompt_after(&source, &weights, conditions, (input, ids(length)), GREEDY)
    });
    Case { name: "random".into(), source, prompts: prompts.into(), conditions }
}

fn between(random: &mut Random, least: u32, most: u32) -> u32 {
    least + (random.bits() % u64::from(most - least + 1)) as u32
}

fn coin(random: &mut Random) -> bool {
    random.bits().is_multiple_of(2)
}
