//! The reference's plan against the dense formulation, which makes none.

use wattle::model::config::{Activation, GrantOrder, Routing};
use wattle::reference::activation::gated;
use wattle::reference::expert_plan::{NONE, combine, plan_within, queue};
use wattle::reference::matmul::matmul;
use wattle::reference::moe::Router;

use crate::support::compare::{Tolerance, assert_close};
use crate::support::drops::{GOLDEN, ORDERS};
use crate::support::golden::Golden;
use crate::support::one_hot::{Choices, OneHot};
use crate::support::random::Random;

#[test]
fn plans_are_those_of_one_hot_tensors() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut below = |most: u64| (random.bits() % most) as usize;
        let (rows, count, d) = (1 + below(40), 1 + below(9), 1 + below(7));
        let k = 1 + below(count as u64);
        // Of every third, all that chose an expert.
        let capacity = if seed % 3 == 0 { rows } else { 1 + below(12) };
        let order = [GrantOrder::ChoiceMajor, GrantOrder::TokenMajor, GrantOrder::Priority][below(3)];
        let case = format!("seed {seed}, {order:?}, capacity {capacity}");
        // Halves, so that tokens are equally important.
        let logits: Vec<f32> =
            random.gaussian(rows * count).iter().map(|x| (2.0 * x).round() / 2.0).collect();
        let mut routes = Router::new(Routing::softmax_topk(true), count, k).route(&logits);
        routes.experts.iter_mut().skip(1).step_by(7).for_each(|expert| *expert = NONE);
        let (x, w) = (random.gaussian(rows * d), random.gaussian(count * d * d));
        let expert = |e: usize, x: &[f32]| matmul(x, &w[e * d * d..][..d * d], None, d);

        let queue = queue(order, &routes.weights, k);
        let plan = plan_within(&routes.experts, &queue, [count, k], capacity as u32);
        let mut outputs = Vec::new();
        for (e, places) in plan.offsets.windows(2).enumerate() {
            for token in &plan.tokens[places[0] as usize..places[1] as usize] {
                outputs.extend(expert(e, &x[*token as usize * d..][..d]));
            }
        }
        let y = combine(&outputs, &plan.slots, &routes.weights, k, d);

        let choices = Choices { experts: &routes.experts, weights: &routes.weights, count, k };
        let dense = OneHot::new(choices, order, capacity);
        dense.assert_dispatches(&case, choices, &plan.slots, &plan.offsets);
        assert_close(&case, &y, &dense.layer(&x, d, expert), Tolerance::OfLargest(1e-6));
    }
}

/// What it is held against is itself held against what nobody here wrote.
#[test]
fn one_hot_tensors_give_golden_layers() {
    for (file, k, _) in GOLDEN {
        let golden = Golden::op(file);
        let [gate, up, down] = ["w_gate", "w_up", "w_down"].map(|name| golden.floats(name));
        let &[count, f, d] = &golden.shape("w_gate")[..] else { panic!("w_gate is [E,f,d]") };
        let expert = |e: usize, x: &[f32]| {
            let of = |w: &[f32], x: &[f32], width| matmul(x, &w[e * f * d..][..f * d], None, width);
            of(&down, &gated(Activation::Silu, &of(&gate, x, d), &of(&up, x, d)), f)
        };
        let (experts, weights) = (golden.indices("topk_idx"), golden.floats("weight"));
        let choices = Choices { experts: &experts, weights: &weights, count, k };
        for (order, prefix) in ORDERS.into_iter().filter(|(_, prefix)| golden.has(&format!("{prefix}.y"))) {
            let dense = OneHot::new(choices, order, golden.integer("capacity") as usize);
            let y = golden.floats(&format!("{prefix}.y"));
            assert_close(
                &format!("{file}, {prefix}"),
                &dense.layer(&golden.floats("x"), d, expert),
                &y,
                Tolerance::OfLargest(1e-6),
            );
        }
    }
}
