//! Which experts each token has, and with which weights.

use super::super::ForwardPass;
use super::super::choices::route_rule;
use super::super::linear::Input;
use super::plan::FEW_TOKENS;
use crate::Result;
use crate::fragments::{Epilogue, InputNorm, InputRows, Reduce};
use crate::kernel::{Binding, BindingKind, Kernel, Launch};
use crate::kernels::moe_auction::{MoeAuction, MoeAuctionParams};
use crate::kernels::moe_lookup::{MoeLookup, MoeLookupParams};
use crate::kernels::moe_route::{MAX_COMPUTED, MoeRoute, MoeRouteParams, RouterLogits};
use crate::kernels::moe_sinkhorn::{MoeSinkhorn, MoeSinkhornParams};
use crate::model::config::{Experts, GrantOrder, Later, Routing};
use crate::model::layout::{ExpertsLayout, Matrix, Vectors};
use crate::model::slot::{Role, router_offset};
use crate::schedule::TensorId;

/// Storage buffers that a kernel may bind on every device.
const MAX_BINDINGS: usize = wgpu::Limits::defaults().max_storage_buffers_per_shader_stage as usize;

/// Bytes of a router's matrix above which a product in tiles is better.
const LARGE_ROUTER: u64 = 1 << 19;

/// Which expert every (token, choice) goes to, and with which weight.
#[derive(Clone, Copy)]
pub(super) struct Routes {
    pub(super) expert_of_slot: TensorId,
    pub(super) weight_of_slot: TensorId,
    /// Choices of a token.
    pub(super) choices: u32,
}

impl ForwardPass<'_> {
    /// A tensor of so many words to a row that says what a router did: it stays where the pass is traced, and the ledger keeps
    /// it where it is asked to.
    pub(super) fn route_tensor(&mut self, part: &'static str, row_words: u32) -> TensorId {
        let (name, bytes) = (self.place.name(part), self.row_bytes(row_words));
        if !self.options.router_telemetry {
            return self.traced(&name, bytes);
        }
        let tensor = self.schedule.named(name, bytes);
        self.schedule.note(tensor, row_words.into());
        tensor
    }

    /// Logits, and what else reads the router's input; none where there is nothing.
    pub(super) fn router_logits(
        &mut self,
        input: Input<'_>,
        weights: &ExpertsLayout,
    ) -> Result<Option<TensorId>> {
        let Some(router) = &weights.router else { return Ok(None) };
        let logits = self.route_tensor("router_logits", router.rows);
        self.project_into("router", input, router, Epilogue::NONE, logits, false)?;
        Ok(Some(logits))
    }

    /// Each token's own choice, or what a table, chance or a balance has for it; with the router's logits. Of many tokens, the
    /// kernel that chooses computes them, where it can.
    pub(super) fn route(
        &mut self,
        read: Input<'_>,
        weights: &ExpertsLayout,
    ) -> Result<(Routes, Option<TensorId>)> {
        let choices = weights.config.choices_of_one();
        let [expert_of_slot, weight_of_slot] =
            ["expert_of_slot", "weight_of_slot"].map(|part| self.route_tensor(part, choices));
        let routes = Routes { expert_of_slot, weight_of_slot, choices };
        let ends = [("expert_of_slot", expert_of_slot), ("weight_of_slot", weight_of_slot)];
        let routing = weights.config.routing;
        let balance = self.options.training.filter(|_| routing.has_balance() && self.tokens_compete());
        if let (Some(router), None, true) = (&weights.router, balance, self.is_computed(read, weights)) {
            let logits = self.route_tensor("router_logits", router.rows);
            let mut tensors = vec![("logits", logits), ("x", read.tensor)];
            tensors.extend(ends);
            tensors.extend(self.router_tensors(read, router));
            let params = MoeRouteParams {
                in_features: router.cols,
                row_quads: (router.row_bytes()[0] / 16) as u32,
                eps: read.norm.map_or(0.0, Vectors::eps),
                ..MoeRouteParams::new(choices, router.rows)
            };
            self.best(weights, (computed(read, router), params), tensors)?;
            return Ok((routes, Some(logits)));
        }
        let computed = self.router_logits(read, weights)?;
        let Some(logits) = computed.filter(|_| routing.has_router()) else {
            self.look_up(weights, &ends)?;
            return Ok((routes, computed));
        };
        let mut tensors = vec![("logits", logits)];
        tensors.extend(ends);
        match (routing, balance) {
            (Routing::Sinkhorn { iterations }, Some(_)) => {
                self.sinkhorn(weights, iterations, tensors)?;
            }
            (Routing::Base { epsilon }, Some(_)) => self.auction(weights, epsilon, tensors)?,
            _ => {
                let params = MoeRouteParams::new(choices, logit_stride(weights));
                self.best(weights, (RouterLogits::Stored, params), tensors)?;
            }
        }
        Ok((routes, computed))
    }

    /// Whether the kernel that chooses computes the logits: where there are many tokens, so that it has workgroups enough, and
    /// no more bindings than every device has. A large matrix is read less often by a product in tiles, and on a CPU any matrix is
    /// read faster by one: then it is worth it only where more than that product is saved.
    fn is_computed(&self, read: Input<'_>, weights: &ExpertsLayout) -> bool {
        let experts = &weights.config;
        let Some(router) = &weights.router else { return false };
        let by_priority =
            self.capacity(experts).is_some_and(|capacity| capacity.order == GrantOrder::Priority);
        let is_fast = router.bytes() <= LARGE_ROUTER && !self.capabilities.is_cpu;
        let is_worth_it = is_fast || read.norm.is_some() || by_priority;
        let variant = self.chooser(weights, computed(read, router));
        let is_buffer = |binding: &&Binding| matches!(binding.kind, BindingKind::Read | BindingKind::Write);
        let bound = variant.bindings().iter().filter(is_buffer).count();
        self.schedule.max_rows > FEW_TOKENS
            && experts.routing.has_router()
            && experts.count <= MAX_COMPUTED
            && router.shards.len() == 1
            && bound <= MAX_BINDINGS
            && variant.fits(experts.choices_of_one(), router.cols, self.capabilities)
            && is_worth_it
    }

    /// The router's matrix, with its biases, and the vectors of its input's norm, as `moe_route` calls them.
    fn router_tensors(&mut self, read: Input<'_>, router: &Matrix) -> Vec<(&'static str, TensorId)> {
        let called = |name| match name {
            "words" => "router",
            "bias" => "router_biases",
            other => other,
        };
        let tensors = self.weight_tensors(router, 0).into_iter().map(|(name, tensor)| (called(name), tensor));
        let mut tensors: Vec<_> = tensors.collect();
        tensors.extend(read.norm.map(|norm| ("norm_weight", self.vectors(norm))));
        tensors
    }

    /// The kernel that takes the best by a rule.
    fn chooser(&self, weights: &ExpertsLayout, logits: RouterLogits) -> MoeRoute {
        let experts = &weights.config;
        let rule = route_rule(experts.routing, self.options.training.is_some());
        let reduce = Reduce::of(self.capabilities);
        MoeRoute { logits, reduce, ..MoeRoute::new(experts.count, rule) }.for_device(
            experts.choices_of_one(),
            weights.router.as_ref().map_or(0, |router| router.cols),
            self.capabilities,
        )
    }

    /// The best by a rule.
    fn best(
        &mut self,
        weights: &ExpertsLayout,
        (logits, params): (RouterLogits, MoeRouteParams),
        mut tensors: Vec<(&'static str, TensorId)>,
    ) -> Result<()> {
        let experts = &weights.config;
        let variant = self.chooser(weights, logits);
        let params = MoeRouteParams {
            second_offset: second_offset(experts),
            seed: self.place.seed(self.options.training.unwrap_or(0)),
            ..params
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
        variant.check_turns(self.schedule.max_rows, iterations, self.capabilities.is_cpu)?;
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
        let max_rounds = variant.max_rounds(self.schedule.max_rows, self.capabilities.is_cpu)?;
        let params = MoeAuctionParams { logit_stride: logit_stride(weights), epsilon, max_rounds };
        self.dispatch("route", Launch { variant, params }, &tensors)
    }

    /// Experts that no router chooses.
    fn look_up(&mut self, weights: &ExpertsLayout, ends: &[(&'static str, TensorId)]) -> Result<()> {
        let experts = &weights.config;
        let mut tensors = ends.to_vec();
        let (variant, seed) = match experts.routing {
            Routing::Random { seed } => (MoeLookup::Random, self.place.seed(seed)),
            Routing::Task { .. } => (MoeLookup::Task, 0),
            _ => {
                let (source, ids) = self.token_ids();
                tensors.push(("token_ids", ids));
                (MoeLookup::Token(source), 0)
            }
        };
        tensors.extend(weights.table.iter().map(|table| ("expert_table", self.vectors(table))));
        let params = MoeLookupParams { experts: experts.count, choices: experts.top_k, seed };
        self.dispatch("route", Launch { variant, params }, &tensors)
    }
}

/// Logits that the kernel which chooses by them computes.
fn computed(read: Input<'_>, router: &Matrix) -> RouterLogits {
    RouterLogits::Computed {
        inputs: InputRows::of(router.cols),
        norm: read.norm.map_or(InputNorm::None, Vectors::applied),
        bias: router.has_bias(),
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
