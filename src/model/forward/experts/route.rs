//! Which experts each token has, and with which weights.

use super::super::ForwardPass;
use super::super::choices::route_rule;
use super::super::linear::Input;
use crate::Result;
use crate::fragments::{Epilogue, Reduce};
use crate::kernel::Launch;
use crate::kernels::moe_auction::{MoeAuction, MoeAuctionParams};
use crate::kernels::moe_lookup::{MoeLookup, MoeLookupParams};
use crate::kernels::moe_route::{MoeRoute, MoeRouteParams};
use crate::kernels::moe_sinkhorn::{MoeSinkhorn, MoeSinkhornParams};
use crate::model::config::{Experts, Later, Routing};
use crate::model::layout::ExpertsLayout;
use crate::model::slot::{Role, router_offset};
use crate::schedule::TensorId;

/// Which expert every (token, choice) goes to, and with which weight.
#[derive(Clone, Copy)]
pub(super) struct Routes {
    pub(super) expert_of_slot: TensorId,
    pub(super) weight_of_slot: TensorId,
    /// Choices of a token.
    pub(super) choices: u32,
}

impl ForwardPass<'_> {
    /// Logits, and what else reads the router's input; none where there is nothing.
    pub(super) fn router_logits(
        &mut self,
        input: Input<'_>,
        weights: &ExpertsLayout,
    ) -> Result<Option<TensorId>> {
        let Some(router) = &weights.router else { return Ok(None) };
        let logits = self.traced(&self.place.name("router_logits"), self.row_bytes(router.rows));
        self.project_into("router", input, router, Epilogue::NONE, logits, false)?;
        Ok(Some(logits))
    }

    /// Each token's own choice, or what a table, chance or a balance has for it.
    pub(super) fn route(&mut self, weights: &ExpertsLayout, logits: Option<TensorId>) -> Result<Routes> {
        let choices = weights.config.choices_of_one();
        let bytes = self.row_bytes(choices);
        let [expert_of_slot, weight_of_slot] =
            ["expert_of_slot", "weight_of_slot"].map(|part| self.traced(&self.place.name(part), bytes));
        let routes = Routes { expert_of_slot, weight_of_slot, choices };
        let ends = [("expert_of_slot", expert_of_slot), ("weight_of_slot", weight_of_slot)];
        let Some(logits) = logits.filter(|_| weights.config.routing.has_router()) else {
            self.look_up(weights, &ends)?;
            return Ok(routes);
        };
        let mut tensors = vec![("logits", logits)];
        tensors.extend(ends);
        match (weights.config.routing, self.options.training) {
            (Routing::Sinkhorn { iterations }, Some(_)) => {
                self.sinkhorn(weights, iterations, tensors)?;
            }
            (Routing::Base { epsilon }, Some(_)) => self.auction(weights, epsilon, tensors)?,
            _ => self.best(weights, choices, tensors)?,
        }
        Ok(routes)
    }

    /// The best by a rule.
    fn best(
        &mut self,
        weights: &ExpertsLayout,
        choices: u32,
        mut tensors: Vec<(&'static str, TensorId)>,
    ) -> Result<()> {
        let experts = &weights.config;
        let rule = route_rule(experts.routing, self.options.training.is_some());
        let variant = MoeRoute { experts: experts.count, rule, reduce: Reduce::of(self.capabilities) };
        let params = MoeRouteParams {
            second_offset: second_offset(experts),
            seed: self.place.seed(self.options.training.unwrap_or(0)),
            ..MoeRouteParams::new(choices, logit_stride(weights))
        };
        let params = match experts.routing {
            Routing::Topk(topk) => {
                let later_share = match topk.later {
                    Later::Always => 0.0,
                    Later::AtLeast { share } | Later::Sampled { share } => share,
                };
                MoeRouteParams { scale: topk.scale, later_share, ..params }
            }
            Routing::SparseMixer { jitter } => MoeRouteParams { jitter, ..params },
            _ => params,
        };
        let stored = [("selection_bias", &weights.selection_bias), ("expert_scale", &weights.expert_scale)];
        for (name, vectors) in stored {
            tensors.extend(vectors.iter().map(|vectors| (name, self.vectors(vectors))));
        }
        self.dispatch("route", Launch { variant, params }, &tensors)
    }

    fn sinkhorn(
        &mut self,
        weights: &ExpertsLayout,
        iterations: u32,
        mut tensors: Vec<(&'static str, TensorId)>,
    ) -> Result<()> {
        tensors.push(("row_factors", self.schedule.activation("row_factors", self.row_bytes(1))));
        let variant = MoeSinkhorn { experts: weights.config.count };
        let params = MoeSinkhornParams { logit_stride: logit_stride(weights), iterations };
        self.dispatch("route", Launch { variant, params }, &tensors)
    }

    fn auction(
        &mut self,
        weights: &ExpertsLayout,
        epsilon: f32,
        mut tensors: Vec<(&'static str, TensorId)>,
    ) -> Result<()> {
        let variant = MoeAuction { experts: weights.config.count };
        let bytes = variant.bidder_bytes(self.schedule.max_rows);
        tensors.push(("bidders", self.schedule.activation("bidders", bytes)));
        let params = MoeAuctionParams { logit_stride: logit_stride(weights), epsilon };
        self.dispatch("route", Launch { variant, params }, &tensors)
    }

    /// Experts that no router chooses.
    fn look_up(&mut self, weights: &ExpertsLayout, ends: &[(&'static str, TensorId)]) -> Result<()> {
        let experts = &weights.config;
        let mut tensors = ends.to_vec();
        let (variant, seed) = match experts.routing {
            Routing::Random { seed } => (MoeLookup::Random, self.place.seed(seed)),
            Routing::Task { .. } => {
                tensors.push(("task", self.schedule.named("task", 4)));
                (MoeLookup::Task, 0)
            }
            _ => {
                tensors.push(("token_ids", self.schedule.named("token_ids", self.row_bytes(1))));
                (MoeLookup::Token, 0)
            }
        };
        tensors.extend(weights.table.iter().map(|table| ("expert_table", self.vectors(table))));
        let params = MoeLookupParams { experts: experts.count, choices: experts.top_k, seed };
        self.dispatch("route", Launch { variant, params }, &tensors)
    }
}

/// Elements between the logits of two tokens.
pub(super) fn logit_stride(weights: &ExpertsLayout) -> u32 {
    weights.router.as_ref().map_or(0, |router| router.rows)
}

/// Where spreads of noise, or logits of groups, begin.
fn second_offset(experts: &Experts) -> u32 {
    let role = match experts.routing {
        Routing::Hierarchical(_) => Role::GroupRouter,
        _ => Role::NoiseRouter,
    };
    router_offset(experts, role)
}
