//! The expert sub-layer: router, plan, experts, combine.

use super::ForwardPass;
use super::feed_forward::activated;
use super::linear::{Input, outputs};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Codec, Epilogue, Members, Reduce};
use crate::kernel::Launch;
use crate::kernels::expert_plan::{MoeSlotParams, RUN, max_tiles};
use crate::kernels::linear::LinearParams;
use crate::kernels::matmul::{Matmul, TileRows};
use crate::kernels::matvec::VecRows;
use crate::kernels::moe_combine::{MoeCombine, MoeCombineParams};
use crate::kernels::moe_count::MoeCount;
use crate::kernels::moe_place::MoePlace;
use crate::kernels::moe_route::{MoeRoute, MoeRouteParams};
use crate::kernels::moe_scan::{MoeScan, MoeScanParams};
use crate::model::config::{Experts, Routing};
use crate::model::layout::{ExpertStack, ExpertsLayout, Matrix, SubLayerLayout};
use crate::schedule::TensorId;

/// Which expert every (token, choice) goes to, and with which weight.
struct Routes {
    expert_of_slot: TensorId,
    weight_of_slot: TensorId,
}

/// How the rows of an expert product are found.
enum Assignment {
    /// Few rows: each looks its expert up.
    Selected { expert_of_slot: TensorId },
    /// Many rows: sorted by expert, in tiles of one expert each.
    Grouped { experts: u32, tile_map: TensorId, max_tiles: u32, slot_of_place: TensorId },
}

impl ForwardPass<'_> {
    /// `x + combine(down(up(norm(x))))` over the experts that the router chooses for each token.
    pub(super) fn experts(
        &mut self,
        x: TensorId,
        layer: &SubLayerLayout,
        weights: &ExpertsLayout,
    ) -> Result<TensorId> {
        let experts = &weights.config;
        let mut input = Input::normed(x, &layer.norm);
        if self.options.phase == Phase::Prefill {
            input = self.norm_first(input)?;
        }
        let logits = self.traced(&self.place.name("router_logits"), self.row_bytes(experts.count));
        self.project_into("router", input, &weights.router, Epilogue::NONE, logits, false)?;
        let routes = self.route(experts, logits)?;
        let assignment = match self.options.phase {
            Phase::Decode => Assignment::Selected { expert_of_slot: routes.expert_of_slot },
            Phase::Prefill => self.plan(experts, routes.expert_of_slot)?,
        };

        // Into the experts, a token's slots share its row; out of them, each slot has its own.
        let up = ("expert_up", experts.top_k);
        let epilogue = activated(experts.expert);
        let hidden = self.expert_product(up, input, &weights.into, epilogue, experts, &assignment)?;
        let (down, hidden) = (("expert_down", 1), Input::plain(hidden));
        let rows = self.expert_product(down, hidden, &weights.down, Epilogue::NONE, experts, &assignment)?;
        let Some(norm) = &layer.post_norm else {
            let out = self.residual_stream();
            self.combine(experts, rows, routes.weight_of_slot, Some(x), out)?;
            return Ok(out);
        };
        let joined = self.schedule.activation("joined", self.row_bytes(self.config.hidden_size));
        self.combine(experts, rows, routes.weight_of_slot, None, joined)?;
        let out = self.residual_stream();
        self.norm("post_norm", joined, norm, Some(x), out)?;
        Ok(out)
    }

    fn route(&mut self, experts: &Experts, logits: TensorId) -> Result<Routes> {
        let Routing::SoftmaxTopk { renormalize } = experts.routing;
        let bytes = self.row_bytes(experts.top_k);
        let [expert_of_slot, weight_of_slot] =
            ["expert_of_slot", "weight_of_slot"].map(|part| self.traced(&self.place.name(part), bytes));
        let variant = MoeRoute { experts: experts.count, renormalize, reduce: Reduce::of(self.capabilities) };
        let params = MoeRouteParams { choices: experts.top_k };
        let tensors =
            [("logits", logits), ("expert_of_slot", expert_of_slot), ("weight_of_slot", weight_of_slot)];
        self.dispatch("route", Launch { variant, params }, &tensors)?;
        Ok(Routes { expert_of_slot, weight_of_slot })
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
        let slot_of_place = self.schedule.activation("slot_of_place", slots * 4);

        let tensors = [("expert_of_slot", expert_of_slot), ("counts", counts)];
        self.dispatch("count", Launch { variant: MoeCount, params }, &tensors)?;
        let scan = MoeScanParams { choices: experts.top_k, max_tiles };
        let tensors = [("counts", counts), ("offsets", offsets), ("tile_map", tile_map)];
        self.dispatch(
            "scan",
            Launch { variant: MoeScan { experts: experts.count }, params: scan },
            &tensors,
        )?;
        let tensors =
            [("expert_of_slot", expert_of_slot), ("offsets", offsets), ("slot_of_place", slot_of_place)];
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
        assignment: &Assignment,
    ) -> Result<TensorId> {
        let epilogue = Epilogue { bias: experts.expert.bias, ..epilogue };
        // Matrices of a stack have one shape.
        let width = outputs(stack.matrices[0].rows, epilogue);
        let y = self.schedule.activation(what, self.row_bytes(width * experts.top_k));
        for group in stack.groups() {
            let matrix = &group.matrix;
            let mut params = LinearParams::dense(matrix.format, matrix.rows, matrix.cols);
            params.out_stride = width;
            params.choices = experts.top_k;
            params.slots_per_input = slots_per_input;
            params.eps = input.norm.map_or(0.0, |norm| norm.norm.eps);
            let mut tensors = vec![("x", input.tensor), ("y", y)];
            tensors.extend(self.weight_tensors(matrix, group.shard));
            let places = self.places(&group, experts.count);
            tensors.extend(places.map(|places| ("place_of_expert", places)));
            let members = places.map(|_| Members { count: group.experts.len() as u32, of: experts.count });
            self.group_product(what, (input, matrix, epilogue), params, tensors, (members, assignment))?;
        }
        Ok(y)
    }

    /// The part of an expert product that a group of experts, or all, have a share in.
    fn group_product(
        &mut self,
        what: &'static str,
        (input, matrix, epilogue): (Input<'_>, &Matrix, Epilogue),
        mut params: LinearParams,
        mut tensors: Vec<(&'static str, TensorId)>,
        (members, assignment): (Option<Members>, &Assignment),
    ) -> Result<()> {
        let codec = Codec::of(matrix.format, self.capabilities);
        match assignment {
            Assignment::Selected { expert_of_slot } => {
                let rows = members.map_or(VecRows::Selected, VecRows::SelectedOf);
                let variant = self.matvec(matrix, codec, epilogue, rows, input.norm);
                tensors.push(("expert_of_slot", *expert_of_slot));
                tensors.extend(input.norm.map(|norm| ("norm_weight", self.vectors(norm))));
                self.dispatch(what, Launch { variant, params }, &tensors)
            }
            Assignment::Grouped { experts, tile_map, max_tiles, slot_of_place } => {
                let rows = members.map_or(TileRows::Grouped { experts: *experts }, TileRows::GroupedOf);
                params.max_tiles = *max_tiles;
                tensors.extend([("tile_map", *tile_map), ("slot_of_place", *slot_of_place)]);
                let kernel = self.tuning.kernel(self.shape(matrix, codec));
                let product = Matmul { epilogue, rows, ..Matmul::new(codec, matrix.cols) };
                self.in_tiles(what, kernel, product, params, &tensors)
            }
        }
    }

    fn combine(
        &mut self,
        experts: &Experts,
        expert_rows: TensorId,
        weight_of_slot: TensorId,
        residual: Option<TensorId>,
        y: TensorId,
    ) -> Result<()> {
        let variant = MoeCombine { residual: residual.is_some() };
        let params = MoeCombineParams { hidden_size: self.config.hidden_size, choices: experts.top_k };
        let mut tensors = vec![("expert_rows", expert_rows), ("weight_of_slot", weight_of_slot), ("y", y)];
        tensors.extend(residual.map(|residual| ("residual", residual)));
        self.dispatch("combine", Launch { variant, params }, &tensors)
    }
}
