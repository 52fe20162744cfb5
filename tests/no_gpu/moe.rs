use wattle::model::config::Activation;
use wattle::reference::activation::gated;
use wattle::reference::matmul::matmul;
use wattle::reference::moe::{Plan, combine, plan, route};

use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;

/// The files, and the numbers of choices in each.
pub const FILES: &[&str] =
    &["moe_topk", "moe_one_token", "moe_all_to_one", "moe_empty_expert", "moe_ties", "moe_all_equal"];

fn choices(file: &str) -> &'static [usize] {
    if file == "moe_all_to_one" { &[1, 2] } else { &[1, 2, 4] }
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
            for (rule, renormalize) in [("softmax_topk", false), ("softmax_topk_renorm", true)] {
                let routes = route(&logits, count, k, renormalize);
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
            // Renormalized weights are the softmax over the chosen logits.
            for (rule, renormalize) in [("softmax_topk", false), ("topk_softmax", true)] {
                let routes = route(&logits, count, k, renormalize);
                let plan = plan(&routes.experts, count, k);
                let counts = golden.indices(&format!("expert_count.{k}"));
                assert_same(&format!("{file}, counts, k = {k}"), &plan.counts, &counts);
                let d = golden.shape("x")[1];
                let found = combine(&expert_outputs(&golden, &plan), &plan.slots, &routes.weights, k, d);
                let expected = golden.floats(&format!("y_{rule}.{k}"));
                assert_close(&format!("{file}, y_{rule}.{k}"), &found, &expected, Tolerance::OfLargest(1e-6));
            }
        }
    }
}

/// The output of each slot's expert for the slot's token.
fn expert_outputs(golden: &Golden, plan: &Plan) -> Vec<f32> {
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
    assert_eq!(route(&[0.0, -0.0, 0.0], 3, 2, false).experts, [0, 1]);
    assert_eq!(route(&[-0.0, 0.0, 0.0], 3, 2, false).experts, [0, 1]);
    assert_eq!(route(&[f32::NAN, -1e4, 1e4], 3, 3, true).experts, [2, 1, 0]);
    let nothing = route(&[f32::NAN; 3], 3, 2, true);
    assert_eq!((nothing.experts, nothing.weights), (vec![0, 1], vec![0.0, 0.0]));
}

/// Rounding the logits to bf16 would give 1/11 (ST-MoE, arXiv 2202.08906, on router precision).
#[test]
fn close_logits_are_told_apart() {
    let mut logits = [128.0; 11];
    logits[0] = 128.5;
    let found = route(&logits, 11, 1, false).weights;
    assert_close("p_0", &found, &[0.1415], Tolerance::Mixed(5e-5, 0.0));
}
