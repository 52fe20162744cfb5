//! The expert sub-layer: router, plan, experts, combine.

use super::feed_forward::{activated, clamp_of};
use super::linear::{Input, outputs};
use super::{End, ForwardPass, Target};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Epilogue, InputRows, Members, Reduce};
use crate::kernel::Launch;
use crate::kernels::expert_plan::{MoeSlotParams, RUN, max_tiles};
use crate::kernels::linear::LinearParams;
use crate::kernels::matmul::TileRows;
use crate::kernels::matvec::VecRows;
use crate::kernels::moe_combine::{MoeCombine, MoeCombineParams};
use crate::kernels::moe_count::MoeCount;
use crate::kernels::moe_place::MoePlace;
use crate::kernels::moe_route::{MoeRoute, MoeRouteParams};
use crate::kernels::moe_scan::{MoeScan, MoeScanParams};
use crate::model::config::{Experts, Routing};
use crate::model::layout::{ExpertStack, ExpertsLayout, Matrix};
use crate::schedule::TensorId;

/// Which expert every (token, choice) goes to, and with which weight.
#[derive(Clone, Copy)]
struct Routes {
    expert_of_slot: TensorId,
    weight_of_slot: TensorId,
    /// Whether weights multiply inputs, not outputs.
    on_input: bool,
}

/// What is left to join: the outputs of every (token, choice), what chose them, and the router's logits.
#[derive(Clone, Copy)]
struct Joined {
    rows: TensorId,
    routes: Routes,
    logits: TensorId,
}

/// How the rows of an expert product are found.
enum Assignment {
    /// Few rows: each looks its expert up.
    Selected { expert_of_slot: TensorId },
    /// Many rows: sorted by expert, in tiles of one expert each.
    Grouped { experts: u32, tile_map: TensorId, max_tiles: u32, slot_of_place: TensorId },
}

/// What goes into the products of all groups, and what has been made of it.
struct GroupsInput<'a> {
    input: Input<'a>,
    /// By how it is read, and whether it is normed on the way in.
    ready: Vec<((InputRows, bool), Input<'a>)>,
}

impl ForwardPass<'_> {
    /// `end(shared(input) + combine(down(up(input))))` over the experts that the router chooses for each token. The router
    /// reads the input, or a norm of its own of `x`.
    pub(super) fn experts(
        &mut self,
        (x, input): (TensorId, Input<'_>),
        weights: &ExpertsLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        let experts = &weights.config;
        let mut input = input;
        if self.options.phase == Phase::Prefill {
            input = self.norm_first(input)?;
        }
        let routed = weights.router_norm.as_ref().map_or(input, |norm| Input::normed(x, norm));
        let logits = self.traced(&self.place.name("router_logits"), self.row_bytes(weights.router.rows));
        self.project_into("router", routed, &weights.router, Epilogue::NONE, logits, false)?;
        let routes = self.route(weights, logits)?;
        let assignment = match self.options.phase {
            Phase::Decode => Assignment::Selected { expert_of_slot: routes.expert_of_slot },
            Phase::Prefill => self.plan(experts, routes.expert_of_slot)?,
        };

        // Into the experts, a token's slots share its row; out of them, each slot has its own.
        let up = ("expert_up", experts.top_k);
        let epilogue = Epilogue { slot_weight: routes.on_input, ..activated(experts.expert) };
        let hidden =
            self.expert_product(up, input, &weights.into, epilogue, experts, (&assignment, routes))?;
        let hidden = Input { rows_per_token: experts.top_k, ..Input::plain(hidden) };
        let down = ("expert_down", 1);
        let rows =
            self.expert_product(down, hidden, &weights.down, Epilogue::NONE, experts, (&assignment, routes))?;
        self.join(input, weights, Joined { rows, routes, logits }, end)
    }

    /// `end(shared(input) + combine(rows))`.
    fn join(
        &mut self,
        input: Input<'_>,
        weights: &ExpertsLayout,
        joined: Joined,
        end: End<'_>,
    ) -> Result<TensorId> {
        let Some(norm) = end.post_norm else {
            let (residual, gated) = self.shared_expert(input, weights, end.residual)?;
            let out = self.target(end.to);
            self.combine(weights, joined, (residual, gated), out)?;
            return Ok(out);
        };
        let (residual, gated) = self.shared_expert(input, weights, None)?;
        let out = self.target(Target::Sum);
        self.combine(weights, joined, (residual, gated), out)?;
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
        let end = End { residual: added_to, post_norm: None, output_scale: None, to: Target::Sum };
        let output = self.feed_forward(input, ffn, end)?;
        Ok(if is_gated { (residual, Some(output)) } else { (Some(output), None) })
    }

    fn route(&mut self, weights: &ExpertsLayout, logits: TensorId) -> Result<Routes> {
        let experts = &weights.config;
        let bytes = self.row_bytes(experts.top_k);
        let [expert_of_slot, weight_of_slot] =
            ["expert_of_slot", "weight_of_slot"].map(|part| self.traced(&self.place.name(part), bytes));
        let rule = experts.routing.into();
        let variant = MoeRoute { experts: experts.count, rule, reduce: Reduce::of(self.capabilities) };
        let (scale, jitter) = match experts.routing {
            Routing::Topk(topk) => (topk.scale, 0.0),
            Routing::SparseMixer { jitter } => (1.0, jitter),
        };
        let on_input = experts.routing.weighs_inputs();
        let logit_stride = weights.router.rows;
        let params = MoeRouteParams { choices: experts.top_k, logit_stride, scale, jitter };
        let mut tensors =
            vec![("logits", logits), ("expert_of_slot", expert_of_slot), ("weight_of_slot", weight_of_slot)];
        let stored = [("selection_bias", &weights.selection_bias), ("expert_scale", &weights.expert_scale)];
        for (name, vectors) in stored {
            tensors.extend(vectors.iter().map(|vectors| (name, self.vectors(vectors))));
        }
        self.dispatch("route", Launch { variant, params }, &tensors)?;
        Ok(Routes { expert_of_slot, weight_of_slot, on_input })
    }

    /// Sorts slots by expert and cuts them into tiles, on the device.
    fn plan(&mut self, experts: &Experts, expert_of_slot: TensorId) -> Result<Assignment> {
        let params = MoeSlotParams { experts: experts.count, choices: experts.top_k };
        let slots = u64::from(self.schedule.max_rows) * u64::from(experts.top_k);
        let table_bytes = slots.div_ceil(RUN) * u64::from(experts.count) * 4;
        let counts = self.schedule.activation("counts", table_bytes);
        let offsets = self.schedule.activation("offsets", table_bytes);
        let tiles = max_tiles(slots, experts.count);
        let tile_map = self.schedule.activation("tile_map", tiles * 16);
        let max_tiles = tiles as u32;
        let [rank_of_slot, slot_of_place] =
            ["rank_of_slot", "slot_of_place"].map(|name| self.schedule.activation(name, slots * 4));

        let variant = MoeCount { experts: experts.count };
        let tensors =
            [("expert_of_slot", expert_of_slot), ("counts", counts), ("rank_of_slot", rank_of_slot)];
        self.dispatch("count", Launch { variant, params }, &tensors)?;
        let scan = MoeScanParams { choices: experts.top_k, max_tiles };
        let tensors = [("counts", counts), ("offsets", offsets), ("tile_map", tile_map)];
        self.dispatch(
            "scan",
            Launch { variant: MoeScan { experts: experts.count }, params: scan },
            &tensors,
        )?;
        let tensors = [
            ("expert_of_slot", expert_of_slot),
            ("rank_of_slot", rank_of_slot),
            ("offsets", offsets),
            ("slot_of_place", slot_of_place),
        ];
        self.dispatch("place", Launch { variant: MoePlace, params }, &tensors)?;
        Ok(Assignment::Grouped { experts: experts.count, tile_map, max_tiles, slot_of_place })
    }

    /// One product with every chosen expert's matrix, a dispatch for each group of experts.
    fn expert_product(
        &mut self,
        (what, slots_per_input): (&'static str, u32),
        input: Input<'_>,
        stack: &ExpertStack,
        epilogue: Epilogue,
        experts: &Experts,
        (assignment, routes): (&Assignment, Routes),
    ) -> Result<TensorId> {
        // Matrices of a stack have one shape.
        let width = outputs(stack.matrices[0].rows, epilogue);
        let y = self.schedule.activation(what, self.row_bytes(width * experts.top_k));
        let groups = stack.groups();
        let mut input = GroupsInput { input, ready: Vec::new() };
        for group in &groups {
            let matrix = &group.matrix;
            let mut params = LinearParams::dense(matrix.format, matrix.rows, matrix.cols);
            params.out_stride = width;
            params.choices = experts.top_k;
            params.slots_per_input = slots_per_input;
            (params.glu_alpha, params.glu_limit) = clamp_of(experts.expert);
            let mut tensors = vec![("y", y)];
            tensors.extend(epilogue.slot_weight.then_some(("weight_of_slot", routes.weight_of_slot)));
            tensors.extend(self.weight_tensors(matrix, group.shard));
            let places = self.places(group, experts.count);
            tensors.extend(places.map(|places| ("place_of_expert", places)));
            let members = places.map(|_| Members { count: group.experts.len() as u32, of: experts.count });
            let epilogue = Epilogue { bias: matrix.has_bias(), ..epilogue };
            self.group_product(what, (&mut input, matrix, epilogue), params, tensors, (members, assignment))?;
        }
        Ok(y)
    }

    /// The part of an expert product that a group of experts, or all, have a share in.
    fn group_product<'a>(
        &mut self,
        what: &'static str,
        (input, matrix, epilogue): (&mut GroupsInput<'a>, &'a Matrix, Epilogue),
        mut params: LinearParams,
        mut tensors: Vec<(&'static str, TensorId)>,
        (members, assignment): (Option<Members>, &Assignment),
    ) -> Result<()> {
        match assignment {
            Assignment::Selected { expert_of_slot } => {
                let way = self.tuning.one_row(self.shape(matrix));
                let input = self.prepared_once(input, matrix, (way.1, true))?;
                let rows = members.map_or(VecRows::Selected, VecRows::SelectedOf);
                tensors.extend([("x", input.tensor), ("expert_of_slot", *expert_of_slot)]);
                self.in_rows(what, (matrix, way), (epilogue, rows), params, input, &tensors)
            }
            Assignment::Grouped { experts, tile_map, max_tiles, slot_of_place } => {
                let kernel = self.tuning.kernel(self.shape(matrix));
                let input = self.prepared_once(input, matrix, (kernel.inputs(matrix.cols), false))?;
                let rows = members.map_or(TileRows::Grouped { experts: *experts }, TileRows::GroupedOf);
                params.max_tiles = *max_tiles;
                let plan = [("tile_map", *tile_map), ("slot_of_place", *slot_of_place)];
                tensors.extend([("x", input.tensor)].into_iter().chain(plan));
                self.in_tiles(what, (matrix, kernel), (epilogue, rows), params, &tensors)
            }
        }
    }

    /// [`ForwardPass::prepared`], whose work groups share: experts of a layer have one transformation.
    fn prepared_once<'a>(
        &mut self,
        shared: &mut GroupsInput<'a>,
        matrix: &'a Matrix,
        way: (InputRows, bool),
    ) -> Result<Input<'a>> {
        if let Some((_, input)) = shared.ready.iter().find(|(known, _)| *known == way) {
            return Ok(*input);
        }
        let input = self.prepared(shared.input, matrix, way, false)?;
        shared.ready.push((way, input));
        Ok(input)
    }

    fn combine(
        &mut self,
        weights: &ExpertsLayout,
        Joined { rows, routes, logits }: Joined,
        (residual, shared): (Option<TensorId>, Option<TensorId>),
        y: TensorId,
    ) -> Result<()> {
        let experts = &weights.config;
        let (is_weighted, is_shared) = (!routes.on_input, shared.is_some());
        let variant = MoeCombine { residual: residual.is_some(), shared: is_shared, weighted: is_weighted };
        let params = MoeCombineParams {
            hidden_size: self.config.hidden_size,
            choices: experts.top_k,
            gate_stride: weights.router.rows,
            gate_offset: experts.count,
        };
        let mut tensors = vec![("expert_rows", rows), ("y", y)];
        tensors.extend(is_weighted.then_some(("weight_of_slot", routes.weight_of_slot)));
        if let Some(shared) = shared {
            tensors.extend([("shared_rows", shared), ("gates", logits)]);
        }
        tensors.extend(residual.map(|residual| ("residual", residual)));
        self.dispatch("combine", Launch { variant, params }, &tensors)
    }
}
