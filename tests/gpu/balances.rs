//! Experts that all tokens share out among them, as in training, in whole models: where random ones cannot be held against the
//! reference.

use wattle::model::config::{
    Activation, Block, Experts, FeedForward, ModelConfig, Norm, NormKind, Op, Routing, SubLayer,
};
use wattle::model::plan::WeightPlan;
use wattle::quant::WeightFormat;
use wattle::reference::forward::Conditions;
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, check};

use crate::expected;
use crate::fill::fill;
use crate::harness::{block_on, gpu};
use crate::session::routes::model as layers;
use crate::support::random::Random;

/// Increments so small that logits which differ in their last bits lead to the same assignment.
const BASE: Routing = Routing::Base { epsilon: 1e-6 };
const SINKHORN: Routing = Routing::Sinkhorn { iterations: 8 };

/// Of tokens that differ, the reference's choices, whatever the products of experts are computed with.
fn check_balance(routing: Routing, kernel: &str, (format, path): (&str, ProductPath), blocks: usize) {
    let norm = Norm { kind: NormKind::Rms, eps: 1e-5 };
    let network = FeedForward::gated(24, Activation::Silu);
    // All tokens like some experts better.
    let experts = Experts { router_bias: true, ..Experts::new(5, 1, routing, network) };
    let sublayers =
        vec![SubLayer::new(norm, Op::Experts(experts)), SubLayer::new(norm, Op::FeedForward(network))];
    let blocks = vec![Block { sublayers }; blocks];
    let config = ModelConfig { name: kernel.into(), blocks, ..layers(routing, 1, None) };
    let source = fill(config, &mut Random::new(3));
    let format: WeightFormat = format.parse().unwrap();
    let plan = WeightPlan::uniform(format);
    let weights = expected::weights(&source, &plan);
    let conditions = Conditions { training: Some(1), ..Conditions::default() };
    let prompt = |conditions| {
        let ids = (0..30).map(|n| (7 * n) % 64).collect();
        expected::prompt(&source, &weights, conditions, ids, 5)
    };
    let (prompt, unbalanced) = (prompt(conditions), prompt(Conditions::default()));
    let moved = relative_rms(&unbalanced.trace.logits, &prompt.trace.logits);
    let case = Case { name: kernel.into(), source, prompts: vec![prompt], conditions };
    let report = block_on(check(&case, &Device::Gpu(gpu().clone()), &plan, path)).unwrap();
    assert!(report.passed(), "{kernel}, {format}, {path}: {report}");
    // Else it would have passed without a balance.
    assert!(moved > 2.0 * report.rounding.max(1e-3), "{kernel}: a balance moves logits by {moved} alone");
    let ran = |name: &str| report.dispatches.iter().any(|(kernel, _)| *kernel == name);
    assert!(ran(kernel), "{:?}", report.dispatches);
    assert_eq!(ran("quantize"), path == ProductPath::Integer, "{:?}", report.dispatches);
}

/// How far numbers are from others, of these.
fn relative_rms(found: &[f32], expected: &[f32]) -> f64 {
    let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let off = squares(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    (off / squares(&mut expected.iter().copied())).sqrt()
}

#[test]
fn auctions_run_in_a_model() {
    check_balance(BASE, "moe_auction", ("f32", ProductPath::Float), 2);
}

/// In the first layer, where nothing has been rounded to codes before: a balance of other logits makes other choices.
#[test]
fn balances_run_beside_products_of_codes() {
    for (routing, kernel) in [(BASE, "moe_auction"), (SINKHORN, "moe_sinkhorn")] {
        check_balance(routing, kernel, ("int8", ProductPath::Integer), 1);
    }
}
