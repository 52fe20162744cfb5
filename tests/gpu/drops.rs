//! What a device drops beyond a capacity: of golden files, and of routers that know nothing.

use wattle::fragments::{Queue, RouteRule};
use wattle::kernels::expert_plan::ExpertShare;
use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams};
use wattle::model::config::{Activation, Capacity, Experts, FeedForward, Routing, Score};
use wattle::reference::expert_plan::NONE;

use crate::expert_plan::DevicePlan;
use crate::harness::{Run, span};
use crate::moe::Layer;
use crate::moe_route::tolerances;
use crate::support::compare::{Tolerance, assert_same};
use crate::support::drops::{GOLDEN, ORDERS, UNIFORM, assert_dropped, per_choice, uniform_routes};
use crate::support::one_hot::Choices;

/// What kernels are told of a capacity.
pub fn share(capacity: Capacity, count: usize, k: usize) -> ExpertShare {
    let expert = FeedForward::plain(1, Activation::Relu);
    let experts = Experts::new(count as u32, k as u32, Routing::softmax_topk(true), expert);
    Experts { capacity: Some(capacity), ..experts }.share().unwrap().unwrap()
}

/// From logits on.
#[test]
fn drops_are_golden() {
    for (file, k, factor) in GOLDEN {
        let layer = Layer::read(file);
        let (golden, rows, count) = (&layer.golden, layer.rows(), layer.experts);
        let rule = RouteRule { renormalize: k > 1, ..RouteRule::SOFTMAX };
        let params = MoeRouteParams::new(k as u32, count as u32);
        let logits = golden.floats("logits");
        let run = Run::new(MoeRoute::new(count as u32, rule), params, span(0, rows), file);
        let run = run.with("logits", &logits).out("expert_of_slot", rows * k);
        let routes = run.out("weight_of_slot", rows * k).go();
        let (chosen, weights) = (golden.indices("topk_idx"), golden.floats("weight"));
        routes.same("expert_of_slot", &chosen);
        let tolerances = tolerances(&logits, &chosen, &weights, rows, Score::Softmax);
        routes.close("weight_of_slot", &weights, Tolerance::Each(&tolerances));

        let weights = routes.floats("weight_of_slot");
        let choices = Choices { experts: &chosen, weights, count, k };
        for (order, prefix) in ORDERS.into_iter().filter(|(_, prefix)| golden.has(&format!("{prefix}.y"))) {
            let case = format!("{file}, {prefix}");
            let share = share(per_choice(factor, order), count, k);
            let capacity = golden.integer("capacity") as usize;
            assert_eq!(share.of(rows as u32) as usize, capacity, "{case}");
            let plan = DevicePlan::new(&case, choices, Queue::from(order), Some(share));
            let places = plan.place_of_slot().unwrap_or_default();
            let dropped = places.iter().filter(|place| **place == NONE).count();
            assert_eq!(dropped as i64, golden.integer(&format!("{prefix}.dropped")), "{case}");
            // Tokens of each expert, filled up to its capacity.
            let mut tokens = vec![NONE; count * capacity];
            for (slot, place) in places.iter().enumerate().filter(|(_, place)| **place != NONE) {
                let expert = chosen[slot] as usize;
                tokens[expert * capacity + (place - plan.offsets()[expert]) as usize] = (slot / k) as u32;
            }
            assert_same(&case, &tokens, &golden.indices(&format!("{prefix}.slots")));
            let y = golden.floats(&format!("{prefix}.y"));
            let found = plan.combine(&layer.grouped(&plan, k), weights, layer.width);
            found.close("y", &y, Tolerance::OfLargest(1e-5));
        }
    }
}

/// Those of the table's rows that are small.
#[test]
fn uniform_routers_drop_as_expected() {
    for (n, count, k, factor, percent) in UNIFORM.into_iter().filter(|(n, ..)| *n <= 1024) {
        let case = format!("{n} tokens, {k} of {count}, {factor}");
        let (order, _) = ORDERS[0];
        let share = share(per_choice(factor, order), count, k);
        let (mut dropped, mut slots) = (0, 0);
        for seed in 0..24 {
            let routes = uniform_routes(n, count, k, seed);
            let choices = Choices { experts: &routes.experts, weights: &routes.weights, count, k };
            let plan = DevicePlan::new(&case, choices, Queue::from(order), Some(share));
            let places = plan.place_of_slot().unwrap_or_default();
            dropped += places.iter().filter(|place| **place == NONE).count();
            slots += places.len();
        }
        assert_dropped(&case, dropped, slots, percent);
    }
}
