//! The expert sub-layer: router, plan, experts, combine.

mod plan;
mod product;
mod route;

use super::feed_forward::activated;
use super::linear::{Input, NormEnd};
use super::{End, ForwardPass, Target};
use crate::Result;
use crate::fragments::Epilogue;
use crate::kernel::Launch;
use crate::kernels::expert_plan::ChosenSlots;
use crate::kernels::moe_combine::{CombineSlots, MoeCombine, MoeCombineParams};
use crate::model::config::Routing;
use crate::model::layout::ExpertsLayout;
use crate::model::slot::{Role, router_offset};
use crate::schedule::TensorId;
use plan::Assignment;
use route::logit_stride;

/// Who computes what, and how it is joined.
struct Routed {
    assignment: Assignment,
    weight_of_slot: TensorId,
    /// Whether weights multiply inputs, not outputs.
    on_input: bool,
    /// Slots of a token: its choices, or all experts where it is alone with them.
    choices: u32,
    /// Which slots have rows, and what says so.
    slots: CombineSlots,
    marks: Vec<(&'static str, TensorId)>,
}

impl Routed {
    /// Slots of experts that chose their tokens.
    fn chosen(&self) -> Option<ChosenSlots> {
        match self.assignment {
            Assignment::Chosen { slots, .. } => Some(slots),
            Assignment::Selected { .. } | Assignment::Grouped { .. } => None,
        }
    }

    /// Rows of what experts compute, in a pass of so many tokens.
    fn rows(&self, tokens: u32) -> u64 {
        match self.chosen() {
            Some(slots) => slots.of(tokens).into(),
            None => u64::from(tokens) * u64::from(self.choices),
        }
    }
}

impl ForwardPass<'_> {
    /// `end(shared(input) + combine(down(up(input))))` over the experts that each token has. The router reads the input, or a
    /// norm of its own of `x`.
    pub(super) fn experts(
        &mut self,
        (x, input): (TensorId, Input<'_>),
        weights: &ExpertsLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        let experts = &weights.config;
        let mut input = input;
        if !self.is_one_row() {
            input = self.norm_first(input)?;
        }
        let read = weights.router_norm.as_ref().map_or(input, |norm| Input::normed(x, norm));
        let (routed, logits) = match experts.routing {
            Routing::ExpertChoice { .. } if self.tokens_compete() => {
                let logits = self.router_logits(read, weights)?;
                (self.chosen_by_experts(experts, logits, logit_stride(weights))?, logits)
            }
            _ => {
                let (routes, logits) = self.route(read, weights)?;
                (self.assign(experts, routes)?, logits)
            }
        };

        // Into the experts, a token's slots share its row; out of them, each slot has its own.
        let up = ("expert_up", routed.choices);
        let epilogue = Epilogue { slot_weight: routed.on_input, ..activated(experts.expert) };
        let hidden = self.expert_product(up, input, &weights.into, epilogue, experts, &routed)?;
        let rows_per_token = routed.choices;
        let hidden = Input { rows_per_token, chosen: routed.chosen(), ..Input::plain(hidden) };
        let down = ("expert_down", 1);
        let rows = self.expert_product(down, hidden, &weights.down, Epilogue::NONE, experts, &routed)?;
        self.join(input, weights, (rows, &routed, logits), end)
    }

    /// `end(shared(input) + combine(rows))`.
    fn join(
        &mut self,
        input: Input<'_>,
        weights: &ExpertsLayout,
        joined: (TensorId, &Routed, Option<TensorId>),
        end: End<'_>,
    ) -> Result<TensorId> {
        let Some(norm) = end.post_norm else {
            let ends = self.shared_expert(input, weights, end.residual)?;
            let out = self.target(end.to);
            self.combine(weights, joined, ends, out)?;
            return Ok(out);
        };
        let ends = self.shared_expert(input, weights, None)?;
        let out = self.target(Target::Sum);
        self.combine(weights, joined, ends, out)?;
        self.end_with_norm(out, norm, end)
    }

    /// What the experts' rows are added to: the residual, with the output of the expert that every token uses. One that has
    /// a gate comes back beside it.
    fn shared_expert(
        &mut self,
        input: Input<'_>,
        weights: &ExpertsLayout,
        residual: Option<TensorId>,
    ) -> Result<(Option<TensorId>, Option<TensorId>)> {
        let Some(ffn) = &weights.shared else { return Ok((residual, None)) };
        let is_gated = weights.config.shared.is_some_and(|shared| shared.gated);
        let added_to = residual.filter(|_| !is_gated);
        let end = End { residual: added_to, post_norm: None, after: NormEnd::NONE, to: Target::Sum };
        let output = self.feed_forward(input, ffn, end)?;
        Ok(if is_gated { (residual, Some(output)) } else { (Some(output), None) })
    }

    fn combine(
        &mut self,
        weights: &ExpertsLayout,
        (rows, routed, logits): (TensorId, &Routed, Option<TensorId>),
        (residual, shared): (Option<TensorId>, Option<TensorId>),
        y: TensorId,
    ) -> Result<()> {
        let experts = &weights.config;
        let variant = MoeCombine {
            residual: residual.is_some(),
            shared: shared.is_some(),
            weighted: !routed.on_input,
            slots: routed.slots,
        };
        let params = MoeCombineParams {
            hidden_size: self.width,
            choices: if routed.chosen().is_some() { experts.count } else { routed.choices },
            gate_stride: weights.router.as_ref().map_or(0, |router| router.rows),
            gate_offset: router_offset(experts, Role::SharedGate),
        };
        let mut tensors = vec![("expert_rows", rows), ("y", y)];
        tensors.extend(variant.weighted.then_some(("weight_of_slot", routed.weight_of_slot)));
        if let (Some(shared), Some(logits)) = (shared, logits) {
            tensors.extend([("shared_rows", shared), ("gates", logits)]);
        }
        tensors.extend(residual.map(|residual| ("residual", residual)));
        tensors.extend_from_slice(&routed.marks);
        self.dispatch("combine", Launch { variant, params }, &tensors)
    }
}
