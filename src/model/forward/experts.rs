//! The expert sub-layer: router, plan, experts, combine.

use super::ForwardPass;
use super::feed_forward::activated;
use super::linear::{Input, outputs};
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

/// What goes into the products of all groups, and what has been made of it.
struct GroupsInput<'a> {
    input: Input<'a>,
    /// By how it is read, and whether it is normed on the way in.
    ready: Vec<((InputRows, bool), Input<'a>)>,
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
        let hidden = Input { rows_per_token: experts.top_k, ..Input::plain(hidden) };
        let down = ("expert_down", 1);
        let rows = self.expert_product(down, hidden, &weights.down, Epilogue::NONE, experts, &assignment)?;
        let Some(norm) = &layer.post_norm else {
            let out = self.residual_stream();
            self.combine(experts, rows, routes.weight_of_slot, Some(x), out)?;
            return Ok(out);
        };
        let joined = self.schedule.activation("joined", self.row_bytes(self.config.hidden_size));
        self.combine(experts, rows, routes.weight_of_slot, None, joined)?;
        let out = self.residual_stream();
        self.norm("post_norm", Input::plain(joined), norm, Some(x), out)?;
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
            let mut tensors = vec![("y", y)];
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
