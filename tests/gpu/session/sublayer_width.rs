//! Sub-layers of several widths in one model: prompts whole and in chunks, and decoding, against the reference.

use wattle::model::config::{
    Activation, Attention, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Rope,
    RopeLayout, RopeScaling, Routing, SharedExpert, SubLayer,
};
use wattle::model::layout_string::Letters;
use wattle::model::plan::WeightPlan;
use wattle::reference::forward::Conditions;
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, check};

use super::learned::omniquant;
use crate::expected;
use crate::fill::fill;
use crate::harness::{block_on, gpu};
use crate::support::random::Random;

const NORM: Norm = Norm { kind: NormKind::Rms, eps: 1e-5 };
const GREEDY: usize = 5;

/// Three quarters, the whole and three halves of 32, in two orders. In the second, a branch has a width of its own within
/// that of its group.
fn config() -> ModelConfig {
    let rope = Rope { theta: 1e4, rotary_dim: 8, layout: RopeLayout::HalfSplit, scaling: RopeScaling::None };
    let attention = Attention { heads: 4, kv_heads: 2, head_dim: 8, scale: 0.4, ..Attention::default() };
    let dense = FeedForward::gated(40, Activation::Silu);
    let shared = SharedExpert { expert: dense, gated: true };
    let experts = Experts {
        router_norm: Some(NORM),
        shared: Some(shared),
        ..Experts::new(5, 2, Routing::softmax_topk(true), FeedForward::plain(24, Activation::GeluTanh))
    };
    let letters = Letters {
        norm: Some(NORM),
        attention: Some(Attention { rope: Some(rope), window: Some(9), ..attention }),
        feed_forward: Some(dense),
        experts: Some(experts),
        ..Letters::default()
    };
    let block = |order: &str, letters: &Letters, widths: [Option<u32>; 4]| {
        let mut block = letters.block(order).unwrap();
        block.sublayers.iter_mut().zip(widths).for_each(|(layer, width)| layer.width = width);
        block
    };
    let first = block("agf(af)", &letters, [Some(24), Some(48), Some(24), Some(48)]);
    let with_post_norms = Letters { post_norm: Some(NORM), ..letters };
    let mut second = block("(fg)gaf", &with_post_norms, [Some(24), Some(32), Some(48), None]);
    let Op::Parallel(branches) = &mut second.sublayers[0].op else { panic!("a group first") };
    let op = branches[1].op.clone();
    branches[1] = SubLayer { width: Some(36), post_norm: Some(NORM), ..SubLayer::new(NORM, op) };
    ModelConfig {
        name: "widths".into(),
        vocab_size: 64,
        hidden_size: 32,
        context_length: 64,
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.0,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks: vec![first, second, Block { sublayers: vec![SubLayer::new(NORM, Op::FeedForward(dense))] }],
        final_norm: NORM,
        head: Head { tied: true, ..Head::default() },
    }
}

/// A prompt of more tokens than experts' rows are looked up for, and one of fewer.
fn case() -> Case {
    let source = fill(config(), &mut Random::new(11));
    let weights = expected::weights(&source, &WeightPlan::uniform("f32".parse().unwrap()));
    let conditions = Conditions::default();
    let prompt = |length: u32| {
        let ids = (0..length).map(|n| 7 * n % 64).collect();
        expected::prompt(&source, &weights, conditions, ids, GREEDY)
    };
    let prompts = vec![prompt(23), prompt(3)];
    Case { name: "widths".into(), source, prompts, conditions }
}

#[test]
fn widths_agree_with_the_reference() {
    let case = case();
    for (format, path, baseline) in [
        ("f32", ProductPath::Float, false),
        ("f32", ProductPath::Float, true),
        ("int4", ProductPath::Float, false),
        ("int4:64", ProductPath::Integer, true),
    ] {
        let plan = WeightPlan::uniform(format.parse().unwrap());
        let device = Device::Gpu(gpu().with_baseline(baseline));
        let report = block_on(check(&case, &device, &plan, path)).unwrap();
        assert!(report.passed(), "{format}, {path}, baseline {baseline}: {report}");
    }
}

/// Projections take part in what OmniQuant has learned, as every other product does.
#[test]
fn projections_are_transformed() {
    let mut case = case();
    case.source = omniquant::source(case.source, |_| ());
    let plan = WeightPlan::uniform("int8".parse().unwrap());
    let layout = case.source.layout(&plan, gpu().capabilities()).unwrap();
    let mut projections = layout.sublayers().flat_map(|layer| &layer.projections);
    assert!(projections.all(|of| of.into.transform.is_some() && of.out.transform.is_some()));
    let report = block_on(check(&case, &Device::Gpu(gpu().clone()), &plan, ProductPath::Float)).unwrap();
    assert!(report.passed(), "{report}");
}
