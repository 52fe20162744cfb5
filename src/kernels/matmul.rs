//! Products of a weight matrix, or of many experts', with many rows: prefill.

use super::expert_plan::TILE_ROWS;
use super::linear::LinearParams;
use super::tile_rows::{RowBlocks, TileRows};
use crate::Result;
use crate::energy::{ByteClass, Work};
use crate::fragments::{Codec, Epilogue, InputRows};
use crate::gpu::Capabilities;
use crate::kernel::{Binding, Kernel, Span, distinct};
use crate::quant::{WeightFormat, Width};
use crate::shader::{Source, fragment};

/// Outputs of a tile.
const TILE_OUTPUTS: u64 = 32;

/// `y[r, n] = epilogue(sum_k w[n, k] x[r, k])` in tiles of 32 rows by 32 outputs.
///
/// Weights are `[N, K]`, or `[E, N, K]` where grouped; `x` is `[rows, K]`. The output is `[rows, N]`, half as wide where
/// gated; where grouped it has a row for every (token, choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matmul {
    /// How weights are stored.
    pub codec: Codec,
    /// How the input is read.
    pub inputs: InputRows,
    /// What happens to the sum.
    pub epilogue: Epilogue,
    /// Which rows.
    pub rows: TileRows,
}

impl Matmul {
    /// A product and nothing else, of every row; others differ from it in some field.
    pub fn new(codec: Codec, in_features: u32) -> Self {
        let inputs = InputRows::of(in_features);
        Self { codec, inputs, epilogue: Epilogue::NONE, rows: TileRows::Dense }
    }

    /// Inputs of a pass through workgroup memory.
    fn depth(self) -> u32 {
        match self.inputs {
            InputRows::Any | InputRows::Quads => 32,
            InputRows::I8 => 64,
        }
    }

    /// Checks the numbers for a kernel that computes this product.
    pub(super) fn check_for(self, kernel: &'static str, params: &LinearParams) -> Result<()> {
        self.inputs.check(kernel, params.in_features)?;
        self.codec.check_inputs(kernel, self.inputs)?;
        self.rows.check(kernel, params)?;
        params.check(kernel, self.codec, self.epilogue, self.rows != TileRows::Dense)
    }

    /// The tiles that a call has workgroups for.
    pub(super) fn tiles(self, params: &LinearParams, span: Span, tile_outputs: u64) -> Tiles {
        Tiles::new(self.rows.blocks(params, span, TILE_ROWS), params, tile_outputs)
    }

    /// Those of them that are computed; as many as there can be where only the device knows.
    pub(super) fn computed_tiles(self, params: &LinearParams, span: Span, tile_outputs: u64) -> Tiles {
        Tiles::new(self.rows.computed_blocks(params, span, TILE_ROWS), params, tile_outputs)
    }

    /// What a call moves for weights and inputs, the latter so many times, and what decoding computes.
    pub(super) fn operand_work(self, params: &LinearParams, tiles: Tiles, passes: u64) -> Work {
        let Tiles { rows: RowBlocks { rows, distinct_inputs, blocks }, output_tiles } = tiles;
        let (inputs, outputs) = (u64::from(params.in_features), u64::from(params.out_features));
        let (word_bytes, scale_bytes) = params.weight_bytes(self.codec);
        let matrices = self.rows.hit_matrices(rows);
        let input_bytes = self.inputs.row_bytes(params.in_features);
        let requested = passes * rows * output_tiles * input_bytes;
        let scale_requests = blocks * params.scale_requests(self.codec, self.inputs);
        let work = Work::default()
            .with_bytes(ByteClass::Weight, matrices * word_bytes, blocks * word_bytes)
            .with_bytes(ByteClass::ScaleZp, matrices * scale_bytes, scale_requests)
            .with_bytes(ByteClass::ActIn, distinct_inputs * input_bytes, requested)
            .or_less(self.rows.may_be_fewer());
        self.codec.work(matrices * outputs * inputs, blocks * outputs * inputs, work)
    }

    /// Rows that are multiplied where each tile rounds its rows up to a multiple of `step`.
    pub(super) fn executed_rows(self, tiles: Tiles, step: u64) -> u64 {
        let RowBlocks { rows, blocks, .. } = tiles.rows;
        match self.rows {
            TileRows::Dense => rows.next_multiple_of(step),
            TileRows::Grouped { .. } | TileRows::GroupedOf(_) | TileRows::Chosen(_) | TileRows::Heads(_) => {
                (rows + (step - 1) * blocks).min(blocks * u64::from(TILE_ROWS))
            }
        }
    }
}

/// How a call is cut up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    /// Tiles of rows.
    pub(super) rows: RowBlocks,
    /// Tiles across the outputs.
    pub(super) output_tiles: u64,
}

impl Tiles {
    fn new(rows: RowBlocks, params: &LinearParams, tile_outputs: u64) -> Self {
        Self { rows, output_tiles: u64::from(params.out_features).div_ceil(tile_outputs) }
    }

    /// Workgroups: one for each tile.
    pub(super) fn count(self) -> u64 {
        self.rows.blocks * self.output_tiles
    }
}

impl Kernel for Matmul {
    type Params = LinearParams;
    const NAME: &'static str = "matmul";

    fn source(self) -> Source {
        let source = self
            .codec
            .add_to(Source::kernel(Self::NAME, fragment!("matmul.wgsl")))
            .with(fragment!("linear/params.wgsl"))
            .with(fragment!("entry/plain.wgsl"))
            .constant("TILE_OUTPUTS", TILE_OUTPUTS as u32)
            .constant("DEPTH", self.depth());
        let source = match self.inputs {
            InputRows::Any | InputRows::Quads => source.with(fragment!("tile/floats.wgsl")),
            InputRows::I8 => self.codec.add_signed_to(source.with(fragment!("tile/i8.wgsl"))),
        };
        self.epilogue.add_to(self.rows.add_to(self.inputs.add_to(source), TILE_ROWS))
    }

    fn bindings(self) -> Vec<Binding> {
        [Binding::PARAMS, Binding::read(4, "x")]
            .into_iter()
            .chain(self.codec.bindings())
            .chain(self.epilogue.bindings())
            .chain(self.rows.bindings())
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        let ways = TileRows::variants();
        // What becomes of a sum does not hang on how weights are stored: every epilogue goes with two codecs, and every
        // codec with both ways to find rows.
        for codec in [Codec::F32, Codec::of(WeightFormat::int(Width::Int4), &Capabilities::webgpu())] {
            for epilogue in Epilogue::all() {
                // Experts' outputs are added by moe_combine.
                let ways = ways.into_iter().filter(|rows| *rows == TileRows::Dense || !epilogue.residual);
                all.extend(ways.map(|rows| Self { codec, inputs: InputRows::Any, epilogue, rows }));
            }
            // Weights of inputs are an expert's.
            for epilogue in Epilogue::of_weighted_inputs() {
                let ways = ways.into_iter().filter(|rows| *rows != TileRows::Dense);
                all.extend(ways.map(|rows| Self { codec, inputs: InputRows::Any, epilogue, rows }));
            }
        }
        for codec in Codec::all() {
            let floats = InputRows::FLOATS.into_iter();
            for inputs in floats.chain(codec.is_int().then_some(InputRows::I8)) {
                let ways = ways.into_iter().chain([TileRows::Heads(3)]);
                all.extend(ways.map(|rows| Self { codec, inputs, epilogue: Epilogue::NONE, rows }));
            }
        }
        distinct(all)
    }

    fn check(self, params: &LinearParams) -> Result<()> {
        self.check_for(Self::NAME, params)
    }

    fn sizes(self, params: &LinearParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = self.rows.slots(rows, params.choices);
        let matrices = self.rows.bound_matrices();
        let inputs = self.rows.input_rows(rows, params);
        [("x", self.inputs.tensor_bytes(inputs, params.in_features))]
            .into_iter()
            .chain(self.codec.sizes([matrices, params.out_features], params.row_words, params.blocks))
            .chain(self.epilogue.sizes(params, matrices, slots))
            .chain(self.rows.plan_sizes(rows, params))
            .collect()
    }

    fn workgroups(self, params: &LinearParams, span: Span) -> u64 {
        self.tiles(params, span, TILE_OUTPUTS).count()
    }

    fn work(self, params: &LinearParams, span: Span) -> Work {
        let tiles = self.computed_tiles(params, span, TILE_OUTPUTS);
        let (inputs, outputs) = (u64::from(params.in_features), u64::from(params.out_features));
        // A lane adds up for four rows, and lanes without a row for none.
        let executed_rows = self.executed_rows(tiles, 4);
        let depth = inputs.next_multiple_of(self.depth().into());
        let executed = executed_rows * tiles.output_tiles * TILE_OUTPUTS * depth;
        let work = self.operand_work(params, tiles, 1);
        let rows = tiles.rows.rows;
        let work = self.inputs.work(rows * inputs * outputs, executed, work);
        self.epilogue.work(params, rows, work)
    }

    fn whole(self) -> Option<Self> {
        self.rows.whole().map(|rows| Self { rows, ..self })
    }
}
