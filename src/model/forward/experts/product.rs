//! Products with experts' matrices, a dispatch for each group of experts.

use super::super::ForwardPass;
use super::super::feed_forward::clamp_of;
use super::super::linear::{Input, outputs};
use super::Routed;
use super::plan::Assignment;
use crate::Result;
use crate::fragments::{Epilogue, InputRows, Members};
use crate::kernels::linear::LinearParams;
use crate::kernels::matvec::VecRows;
use crate::kernels::tile_rows::{Chosen, TileRows};
use crate::model::config::Experts;
use crate::model::layout::{ExpertStack, Matrix};
use crate::schedule::TensorId;
use crate::tuning::{ProductKernel, ProductShape};

/// What goes into the products of all groups, and what has been made of it.
struct GroupsInput<'a> {
    input: Input<'a>,
    /// By how it is read, and whether it is normed on the way in.
    ready: Vec<((InputRows, bool), Input<'a>)>,
}

impl ForwardPass<'_> {
    /// One product with every chosen expert's matrix, a dispatch for each group of experts.
    pub(super) fn expert_product(
        &mut self,
        (what, slots_per_input): (&'static str, u32),
        input: Input<'_>,
        stack: &ExpertStack,
        epilogue: Epilogue,
        experts: &Experts,
        routed: &Routed,
    ) -> Result<TensorId> {
        // Matrices of a stack have one shape.
        let width = outputs(stack.matrices[0].rows, epilogue);
        let bytes = routed.rows(self.schedule.max_rows) * u64::from(width) * 4;
        let y = self.schedule.activation(what, bytes);
        let groups = stack.groups();
        let mut input = GroupsInput { input, ready: Vec::new() };
        for group in &groups {
            let matrix = &group.matrix;
            let mut params = LinearParams::dense(matrix.format, matrix.rows, matrix.cols);
            params.out_stride = width;
            params.choices = routed.choices;
            params.slots_per_input = slots_per_input;
            (params.glu_alpha, params.glu_limit) = clamp_of(experts.expert);
            let mut tensors = vec![("y", y)];
            tensors.extend(epilogue.slot_weight.then_some(("weight_of_slot", routed.weight_of_slot)));
            tensors.extend(self.weight_tensors(matrix, group.shard));
            let places = self.places(group, experts.count);
            tensors.extend(places.map(|places| ("place_of_expert", places)));
            let members = places.map(|_| Members { count: group.experts.len() as u32, of: experts.count });
            let epilogue = Epilogue { bias: matrix.has_bias(), ..epilogue };
            let to = (members, &routed.assignment);
            self.group_product(what, (&mut input, matrix, epilogue), params, tensors, to)?;
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
        let (rows, most_tiles, plan) = match *assignment {
            Assignment::Selected { expert_of_slot } => {
                let way = self.tuning.one_row(self.shape(matrix));
                let input = self.prepared_once(input, matrix, (way.1, true))?;
                let rows = members.map_or(VecRows::Selected, VecRows::SelectedOf);
                tensors.extend([("x", input.tensor), ("expert_of_slot", expert_of_slot)]);
                return self.in_rows(what, (matrix, way), (epilogue, rows), params, input, &tensors);
            }
            Assignment::Grouped { experts, tile_map, max_tiles, slot_of_place } => {
                let rows = members.map_or(TileRows::Grouped { experts }, TileRows::GroupedOf);
                (rows, max_tiles, vec![("tile_map", tile_map), ("slot_of_place", slot_of_place)])
            }
            Assignment::Chosen { slots, tile_map, max_tiles, token_of_slot } => {
                let by_token = input.input.chosen.is_none();
                let tokens = by_token.then_some(("token_of_slot", token_of_slot));
                let rows = TileRows::Chosen(Chosen { slots, members, by_token });
                (rows, max_tiles, [("tile_map", tile_map)].into_iter().chain(tokens).collect())
            }
        };
        // What counts is how many rows meet a matrix.
        let shape = ProductShape { rows: self.rows_of_expert(rows, params.choices), ..self.shape(matrix) };
        let kernel = self.tuning.kernel(shape);
        let inputs = kernel.inputs(matrix.cols);
        let input = self.prepared_once(input, matrix, (inputs, false))?;
        params.max_tiles = most_tiles;
        tensors.extend([("x", input.tensor)].into_iter().chain(plan));
        match kernel {
            ProductKernel::Matvec(tile) | ProductKernel::MatvecI8(tile) => {
                let (way, rows) = ((tile, inputs), VecRows::Tiles(rows));
                self.in_rows(what, (matrix, way), (epilogue, rows), params, input, &tensors)
            }
            ProductKernel::Matmul {} | ProductKernel::MatmulI8 {} | ProductKernel::MatmulCoop {} => {
                self.in_tiles(what, (matrix, kernel), (epilogue, rows), params, &tensors)
            }
        }
    }

    /// Rows of a pass that an expert has where all have as many. Where tokens chose and that is one on average, it is two or
    /// three as often as none.
    fn rows_of_expert(&self, rows: TileRows, choices: u32) -> u32 {
        let tokens = self.schedule.max_rows;
        match rows {
            TileRows::Dense | TileRows::Heads(_) => tokens,
            TileRows::Grouped { experts } | TileRows::GroupedOf(Members { of: experts, .. }) => {
                tokens.saturating_mul(choices).div_ceil(experts).max(2)
            }
            TileRows::Chosen(chosen) => chosen.slots.share.of(tokens),
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
}
