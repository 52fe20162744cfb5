//! The plan of a layer of experts, made by a device from choices: the kernels of a plan in a row, each reading what the one before
//! it wrote.

use wattle::fragments::{Codec, Epilogue, Queue};
use wattle::kernel::Span;
use wattle::kernels::expert_plan::{ExpertShare, MoeSlotParams, RUN, max_tiles};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::Matmul;
use wattle::kernels::moe_combine::{CombineSlots, MoeCombine, MoeCombineParams};
use wattle::kernels::moe_count::MoeCount;
use wattle::kernels::moe_place::MoePlace;
use wattle::kernels::moe_priority::{MoePriority, MoePriorityParams};
use wattle::kernels::moe_scan::{MoeScan, MoeScanParams};
use wattle::kernels::tile_rows::TileRows;
use wattle::quant::PackedMatrix;

use crate::harness::{Outputs, Run, span};
use crate::support::one_hot::Choices;

/// Who computes what, as a device found it.
pub struct DevicePlan {
    case: String,
    call: Span,
    count: usize,
    k: usize,
    tiles: usize,
    scan: Outputs,
    place: Outputs,
    is_marked: bool,
}

impl DevicePlan {
    /// The plan in an order, within a share where there is one.
    pub fn new(case: &str, choices: Choices, queue: Queue, share: Option<ExpertShare>) -> Self {
        let Choices { experts: chosen, weights, count, k } = choices;
        let (slots, rows) = (chosen.len(), chosen.len() / k);
        let call = span(0, rows);
        let table = slots.div_ceil(RUN as usize) * count;
        let tiles = max_tiles(slots as u64, count as u32) as usize;
        let (experts, k32) = (count as u32, k as u32);
        let all = share.unwrap_or(ExpertShare::ALL);
        let is_limited = share.is_some();
        // Those that are not used have no place either.
        let is_marked = is_limited || chosen.iter().any(|expert| *expert as usize >= count);

        let by_priority = queue == Queue::Priority;
        let ranked = by_priority.then(|| {
            let params = MoePriorityParams { choices: k32 };
            let run = Run::new(MoePriority, params, call, case).with("weight_of_slot", weights);
            run.out("token_of_rank", rows).go()
        });
        let in_order = |run: Run| match &ranked {
            Some(ranked) => run.with("token_of_rank", ranked.words("token_of_rank")),
            None => run,
        };
        let params = MoeSlotParams::within(experts, k32, all);
        let run = Run::new(MoeCount { experts, queue }, params, call, case).with("expert_of_slot", chosen);
        let ranks = in_order(run).out("counts", table).out("rank_of_slot", slots).go();
        let scanning = MoeScanParams::within(k32, tiles as u32, all);
        let run = Run::new(MoeScan { experts, limited: is_limited }, scanning, call, case);
        let run = run.with("counts", ranks.words("counts")).out("offsets", table);
        let scan = run.out("tile_map", 4 * tiles).go();
        let variant = MoePlace { queue, limited: is_limited, marked: is_marked };
        let run = Run::new(variant, params, call, case).with("expert_of_slot", chosen);
        let run =
            run.with("rank_of_slot", ranks.words("rank_of_slot")).with("offsets", scan.words("offsets"));
        let run = in_order(run).out("slot_of_place", slots);
        let place = if is_marked { run.out("place_of_slot", slots) } else { run }.go();
        Self { case: case.into(), call, count, k, tiles, scan, place, is_marked }
    }

    /// First place of each expert in each run of slots, `[runs, E]`.
    pub fn offsets(&self) -> &[u32] {
        self.scan.words("offsets")
    }

    /// Expert, first place and rows of each tile, and 0.
    pub fn tile_map(&self) -> &[u32] {
        self.scan.words("tile_map")
    }

    /// The choice in each place, behind them what was there before.
    pub fn slot_of_place(&self) -> &[u32] {
        self.place.words("slot_of_place")
    }

    /// The place of each choice, where some have none.
    pub fn place_of_slot(&self) -> Option<&[u32]> {
        self.is_marked.then(|| self.place.words("place_of_slot"))
    }

    /// The product of each choice's input with its expert's matrix, in so many words: rows of those that have no place are not written.
    pub fn product(
        &self,
        matrix: &PackedMatrix,
        params: LinearParams,
        epilogue: Epilogue,
        x: &[f32],
        words: usize,
    ) -> Vec<f32> {
        let rows = TileRows::Grouped { experts: self.count as u32 };
        let params = LinearParams { max_tiles: self.tiles as u32, ..params };
        let variant = Matmul { epilogue, rows, ..Matmul::new(Codec::F32, params.in_features) };
        let run = Run::new(variant, params, self.call, &self.case).with("tile_map", self.tile_map());
        let run = run.with("slot_of_place", self.slot_of_place()).with("words", &matrix.words);
        run.with("x", x).out("y", words).go().floats("y").to_vec()
    }

    /// The weighted sum of each token's rows, `[rows, width]`.
    pub fn combine(&self, expert_rows: &[f32], weights: &[f32], width: usize) -> Outputs {
        let params = MoeCombineParams {
            hidden_size: width as u32,
            choices: self.k as u32,
            gate_stride: 0,
            gate_offset: 0,
        };
        let slots = if self.is_marked { CombineSlots::Placed } else { CombineSlots::All };
        let variant = MoeCombine { residual: false, shared: false, weighted: true, slots };
        let run = Run::new(variant, params, self.call, &self.case).with("expert_rows", expert_rows);
        let run = match self.place_of_slot() {
            Some(places) => run.with("place_of_slot", places),
            None => run,
        };
        run.with("weight_of_slot", weights).out("y", self.call.rows as usize * width).go()
    }
}
