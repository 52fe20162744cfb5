//! The expert sub-layer: router, experts, combine.

use super::{Pass, RouteTrace, feed_forward, linear, normed, unfit};
use crate::model::config::{Capacity, Experts, GrantOrder, Routing};
use crate::reference::expert_plan::{NONE, combine, plan_within, queue};
use crate::reference::lookup::{looked_up, random_experts};
use crate::reference::matmul::matmul;
use crate::reference::moe::{Router, Routes, Training, with_noise};
use crate::reference::weights::{ExpertsWeights, FeedForwardWeights, Linear};
use crate::{Error, Result};

impl Pass<'_> {
    /// The experts' outputs for `input`, weighted and summed as the router says, and that of the expert that every token
    /// uses. The router reads `input`, or its own norm of `x`. Experts that are given replace its choice, which is recorded
    /// all the same.
    pub(super) fn experts(
        &mut self,
        op: &Experts,
        weights: &ExpertsWeights,
        x: &[f32],
        input: &[f32],
    ) -> Result<Vec<f32>> {
        let d = x.len() / self.ids.len();
        let read = match (op.router_norm, &weights.router_norm) {
            (Some(norm), Some(weights)) => &normed(norm, weights, x)[..],
            _ => input,
        };
        let routes = match &weights.router {
            Some(router) => self.routed(op, weights, router, (read, d))?,
            None => self.looked_up(op, weights)?,
        };
        let mut y = mix(op, &weights.experts, &routes, input, d);
        if let (Some(shared), Some(ffn)) = (&op.shared, &weights.shared) {
            let output = feed_forward(&shared.expert, ffn, input);
            let gates = weights.shared_gate.as_ref().map(|gate| matmul(read, gate, None, d));
            for (row, (y, output)) in y.chunks_exact_mut(d).zip(output.chunks_exact(d)).enumerate() {
                let gate = gates.as_ref().map_or(1.0, |gates| 1.0 / (1.0 + (-f64::from(gates[row])).exp()));
                y.iter_mut().zip(output).for_each(|(y, output)| *y += (gate * f64::from(*output)) as f32);
            }
        }
        Ok(y)
    }

    /// The experts that a router chooses by what it reads, `[n, d]`.
    fn routed(
        &mut self,
        op: &Experts,
        weights: &ExpertsWeights,
        router: &Linear,
        (read, d): (&[f32], usize),
    ) -> Result<Routes> {
        let place = self.places.next().ok_or_else(|| unfit("a set of weights"))?;
        let mut logits = linear(router, read, d);
        let (count, top_k) = (op.count as usize, op.top_k as usize);
        let training = self
            .conditions
            .training
            .map(|seed| Training { seed: place.seed(seed), positions: &self.positions });
        let unnoised = logits.clone();
        if let (Some(training), Some(noise)) = (training, &weights.noise_router) {
            logits = with_noise(&logits, &matmul(read, noise, None, d), count, training);
        }
        let group_logits = weights.group_router.as_ref().map(|router| matmul(read, router, None, d));
        let router = Router {
            routing: op.routing,
            count,
            top_k,
            selection_bias: weights.selection_bias.as_deref(),
            expert_scale: weights.expert_scale.as_deref(),
            group_logits: group_logits.as_deref(),
            training,
        };
        let own = router.route(&logits);
        if !op.chooses_by_token(training.is_some()) {
            return Ok(own);
        }
        let routes = match self.chosen.map(|chosen| chosen[self.routes.len()]) {
            Some(given) => {
                Routes { experts: given.experts.to_vec(), weights: router.weigh_chosen(&logits, given) }
            }
            None => own.clone(),
        };
        let Routes { experts, weights } = own;
        self.routes.push(RouteTrace {
            keys: router.keys(&logits),
            next_groups: router.next_groups(&logits),
            margins: router.margins(&logits, &experts),
            logits: unnoised,
            experts,
            weights,
            top_k,
        });
        Ok(routes)
    }

    /// The experts that a table has, or chance.
    fn looked_up(&mut self, op: &Experts, weights: &ExpertsWeights) -> Result<Routes> {
        let place = self.places.next().ok_or_else(|| unfit("a set of weights"))?;
        let top_k = op.top_k as usize;
        let keys = match (op.routing, self.conditions.task) {
            (Routing::Task { tasks }, Some(task)) if task < tasks => vec![task; self.ids.len()],
            (Routing::Task { tasks }, task) => {
                let found = task.map_or("none".to_owned(), |task| task.to_string());
                return Err(Error::Request(format!("expected a task below {tasks}, found {found}")));
            }
            _ => self.ids.to_vec(),
        };
        let experts = match (op.routing, &weights.table) {
            (Routing::Random { seed }, _) => {
                random_experts(place.seed(seed), &self.positions, op.count, op.top_k)
            }
            (_, Some(table)) => looked_up(table, &keys, top_k),
            (_, None) => return Err(unfit("a set of weights")),
        };
        let weights = vec![1.0 / op.top_k as f32; experts.len()];
        Ok(Routes { experts, weights })
    }
}

/// The experts' outputs for `x`, weighted and summed; or of inputs that are weighted, the plain sums.
fn mix(op: &Experts, experts: &[FeedForwardWeights], routes: &Routes, x: &[f32], d: usize) -> Vec<f32> {
    let count = op.count as usize;
    let tokens = x.len() / d;
    let width = routes.experts.len() / tokens;
    let on_input = op.routing.weighs_inputs();
    let order = op.capacity.map_or(GrantOrder::TokenMajor, |capacity| capacity.order);
    let capacity = |capacity: Capacity| capacity.of(tokens as u32, op.top_k, op.count);
    let capacity = op.capacity.map_or(u32::MAX, capacity);
    let queue = queue(order, &routes.weights, width);
    let plan = plan_within(&routes.experts, &queue, [count, width], capacity);
    let mut weight_of_place = vec![1.0; plan.tokens.len()];
    let kept = plan.slots.iter().zip(&routes.weights).filter(|(place, _)| on_input && **place != NONE);
    for (place, weight) in kept {
        weight_of_place[*place as usize] = *weight;
    }
    let mut outputs = Vec::with_capacity(plan.tokens.len() * d);
    for (weights, places) in experts.iter().zip(plan.offsets.windows(2)) {
        for place in places[0] as usize..places[1] as usize {
            let row = &x[plan.tokens[place] as usize * d..][..d];
            let row: Vec<f32> = row.iter().map(|x| weight_of_place[place] * x).collect();
            outputs.extend(feed_forward(&op.expert, weights, &row));
        }
    }
    let ones = vec![1.0; routes.weights.len()];
    combine(&outputs, &plan.slots, if on_input { &ones } else { &routes.weights }, width, d)
}
