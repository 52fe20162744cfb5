use wattle::model::config::{Activation, ExpertGroups, GroupScore, Routing, Score, Topk};
use wattle::reference::activation::gated;
use wattle::reference::expert_plan::{Plan, combine, plan};
use wattle::reference::matmul::matmul;
use wattle::reference::moe::Router;

use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;

/// The files, and the numbers of choices in each.
pub const FILES: &[&str] =
    &["moe_topk", "moe_one_token", "moe_all_to_one", "moe_empty_expert", "moe_ties", "moe_all_equal"];

fn choices(file: &str) -> &'static [usize] {
    if file == "moe_all_to_one" { &[1, 2] } else { &[1, 2, 4] }
}

/// The rules of the golden files. Renormalized weights of a softmax are the softmax over the chosen logits.
fn rules() -> [(&'static str, Topk); 5] {
    let renormalized = |topk| Topk { renormalize: true, ..topk };
    let [softmax, sigmoid] = [Score::Softmax, Score::Sigmoid].map(Topk::of);
    [
        ("softmax_topk", softmax),
        ("softmax_topk_renorm", renormalized(softmax)),
        ("topk_softmax", renormalized(softmax)),
        ("sigmoid_topk", sigmoid),
        ("sigmoid_topk_renorm", renormalized(sigmoid)),
    ]
}

fn softmax(count: usize, k: usize, renormalize: bool) -> Router<'static> {
    Router::new(Routing::softmax_topk(renormalize), count, k)
}

#[test]
fn biases_choose_and_do_not_weigh() {
    let golden = Golden::op("moe_topk");
    let (logits, bias) = (golden.floats("logits"), golden.floats("select_bias"));
    let scale = golden.float("routed_scaling");
    let topk = Topk { renormalize: true, selection_bias: true, scale, ..Topk::of(Score::Sigmoid) };
    for &k in choices("moe_topk") {
        let router = Router::new(Routing::Topk(topk), bias.len(), k);
        let routes = Router { selection_bias: Some(&bias), ..router }.route(&logits);
        assert_same(&format!("k = {k}"), &routes.experts, &golden.indices(&format!("biased_idx.{k}")));
        let weights = golden.floats(&format!("biased_weight.{k}"));
        assert_close(&format!("k = {k}"), &routes.weights, &weights, Tolerance::Mixed(0.0, 2e-6));
    }
}

#[test]
fn groups_rule_experts_out() {
    let logits = [0.9, 0.0, 0.6, 0.5, -1.0, 0.8, 0.6, 0.7];
    let chosen = |score, limit, k| {
        let groups = Some(ExpertGroups { count: 4, limit, score });
        Router::new(Routing::Topk(Topk { groups, ..Topk::of(Score::Sigmoid) }), 8, k).choose(&logits)
    };
    assert_eq!(chosen(GroupScore::Best, 1, 2), [0, 1]);
    assert_eq!(chosen(GroupScore::Best, 2, 3), [0, 5, 1]);
    assert_eq!(chosen(GroupScore::TwoBest, 1, 2), [7, 6]);
    assert_eq!(chosen(GroupScore::TwoBest, 2, 3), [7, 2, 6]);
}

#[test]
fn routes_are_golden() {
    for &file in FILES {
        let golden = Golden::op(file);
        let (x, router) = (golden.floats("x"), golden.floats("router_weight"));
        let &[count, d] = &golden.shape("router_weight")[..] else {
            panic!("{file}: router_weight is [E,d]")
        };
        let logits = matmul(&x, &router, None, d);
        assert_close(file, &logits, &golden.floats("logits"), Tolerance::Mixed(1e-6, 1e-6));
        for &k in choices(file) {
            for (rule, topk) in rules() {
                let routes = Router::new(Routing::Topk(topk), count, k).route(&logits);
                let case = format!("{file}, {rule}, k = {k}");
                assert_same(&case, &routes.experts, &golden.indices(&format!("topk_idx.{k}")));
                let weights = golden.floats(&format!("weight_{rule}.{k}"));
                assert_close(&case, &routes.weights, &weights, Tolerance::Mixed(0.0, 2e-6));
            }
        }
    }
}

#[test]
fn outputs_are_golden() {
    for &file in FILES {
        let golden = Golden::op(file);
        let (logits, count) = (golden.floats("logits"), golden.shape("router_weight")[0]);
        for &k in choices(file) {
            for (rule, topk) in rules() {
                let name = format!("y_{rule}.{k}");
                if !golden.has(&name) {
                    continue;
                }
                let routes = Router::new(Routing::Topk(topk), count, k).route(&logits);
                let plan = plan(&routes.experts, count, k);
                let counts = golden.indices(&format!("expert_count.{k}"));
                assert_same(&format!("{file}, counts, k = {k}"), &plan.counts, &counts);
                let d = golden.shape("x")[1];
                let found = combine(&expert_outputs(&golden, &plan), &plan.slots, &routes.weights, k, d);
                let expected = golden.floats(&name);
                assert_close(&format!("{file}, {name}"), &found, &expected, Tolerance::OfLargest(1e-6));
            }
        }
    }
}

/// The output of each slot's expert for the slot's token.
pub fn expert_outputs(golden: &Golden, plan: &Plan) -> Vec<f32> {
    let (x, w_gate) = (golden.floats("x"), golden.floats("w_gate"));
    let (w_up, w_down) = (golden.floats("w_up"), golden.floats("w_down"));
    let &[_, f, d] = &golden.shape("w_gate")[..] else { panic!("w_gate is [E,f,d]") };
    let mut outputs = vec![];
    for (e, slots) in plan.offsets.windows(2).enumerate() {
        for &token in &plan.tokens[slots[0] as usize..slots[1] as usize] {
            let x = &x[token as usize * d..][..d];
            let project = |w: &[f32]| matmul(x, &w[e * f * d..][..f * d], None, d);
            let inner = gated(Activation::Silu, &project(&w_gate), &project(&w_up));
            outputs.extend(matmul(&inner, &w_down[e * d * f..][..d * f], None, f));
        }
    }
    outputs
}

#[test]
fn slots_keep_the_order_of_tokens() {
    let plan = plan(&[2, 0, 0, 2, 2, 3], 5, 2);
    assert_eq!(plan.counts, [2, 0, 3, 1, 0]);
    assert_eq!(plan.offsets, [0, 2, 2, 5, 6, 6]);
    assert_eq!(plan.slots, [2, 0, 1, 3, 4, 5]);
    assert_eq!(plan.tokens, [0, 1, 0, 1, 2, 2]);
}

#[test]
fn equal_and_bad_logits_have_an_order() {
    assert_eq!(softmax(3, 2, false).route(&[0.0, -0.0, 0.0]).experts, [0, 1]);
    assert_eq!(softmax(3, 2, false).route(&[-0.0, 0.0, 0.0]).experts, [0, 1]);
    assert_eq!(softmax(3, 3, true).route(&[f32::NAN, -1e4, 1e4]).experts, [2, 1, 0]);
    let nothing = softmax(3, 2, true).route(&[f32::NAN; 3]);
    assert_eq!((nothing.experts, nothing.weights), (vec![0, 1], vec![0.0, 0.0]));
}

/// Rounding the logits to bf16 would give 1/11 (ST-MoE, arXiv 2202.08906, on router precision).
#[test]
fn close_logits_are_told_apart() {
    let mut logits = [128.0; 11];
    logits[0] = 128.5;
    let found = softmax(11, 1, false).route(&logits).weights;
    assert_close("p_0", &found, &[0.1415], Tolerance::Mixed(5e-5, 0.0));
}
