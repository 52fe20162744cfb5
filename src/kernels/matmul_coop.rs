//! Products of a weight matrix, or of many experts', with many rows, on cooperative matrices: prefill where a device
//! has them.

use super::expert_plan::TILE_ROWS;
use super::linear::LinearParams;
use super::matmul::Matmul;
use super::tile_rows::TileRows;
use crate::Result;
use crate::energy::{OpClass, Work};
use crate::fragments::{Codec, Epilogue, InputRows, MatrixSize};
use crate::gpu::Capabilities;
use crate::kernel::check::require;
use crate::kernel::{Binding, Kernel, Span, distinct};
use crate::quant::{WeightFormat, Width};
use crate::shader::{Source, fragment};

/// Outputs of a tile.
const TILE_OUTPUTS: u64 = 64;
/// Inputs of a pass over workgroup memory.
const DEPTH: u64 = 32;

/// The product that a [`Matmul`] computes, with the same tensors, from inputs and weights rounded to f16; sums are f32.
///
/// Inputs are off by up to `2^-10` of themselves, and those below `2^-28` of their row's largest may become 0, however
/// large that is. Weights are off by as much; below `2^-14` they may become 0, and beyond 65504 they are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatmulCoop {
    /// Which product. Weights in f32 are refused: they would lose what they are stored for.
    pub product: Matmul,
    /// The matrices it is composed of.
    pub size: MatrixSize,
}

impl MatmulCoop {
    /// Whether a product's weights lose next to nothing in f16.
    pub fn takes(codec: Codec) -> bool {
        codec != Codec::F32
    }

    /// Lanes of a workgroup: a subgroup for each block of two by two matrices.
    fn lanes(self) -> u32 {
        let block = 2 * self.size.side();
        (TILE_ROWS / block) * (TILE_OUTPUTS as u32 / block) * self.size.widest_subgroup()
    }
}

impl Kernel for MatmulCoop {
    type Params = LinearParams;
    const NAME: &'static str = "matmul_coop";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("matmul_coop.wgsl"))
            .with(fragment!("linear/params.wgsl"))
            .constant("WORKGROUP_SIZE", self.lanes())
            .constant("TILE_OUTPUTS", TILE_OUTPUTS as u32);
        let Matmul { codec, inputs, epilogue, rows } = self.product;
        let source = inputs.add_to(codec.add_to(self.size.add_to(source)));
        epilogue.add_to(rows.add_to(source, TILE_ROWS))
    }

    fn bindings(self) -> Vec<Binding> {
        self.product.bindings()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        let ways = TileRows::variants();
        // What becomes of a sum, and which rows there are, does not hang on how weights are stored.
        for codec in [Codec::F16, Codec::of(WeightFormat::int(Width::Int4), &Capabilities::webgpu())] {
            for rows in ways {
                // Experts' outputs are added by moe_combine.
                let epilogues =
                    Epilogue::all().into_iter().filter(|e| rows == TileRows::Dense || !e.residual);
                let plain = Matmul { rows, inputs: InputRows::Any, ..Matmul::new(codec, 1) };
                all.extend(epilogues.map(|epilogue| Matmul { epilogue, ..plain }));
                // Weights of inputs are an expert's.
                let weighted = Epilogue::of_weighted_inputs().into_iter();
                let weighted = weighted.filter(|_| rows != TileRows::Dense);
                all.extend(weighted.map(|epilogue| Matmul { epilogue, ..plain }));
                all.extend(InputRows::FLOATS.map(|inputs| Matmul { inputs, ..plain }));
            }
        }
        all.extend(Codec::all().filter(|codec| Self::takes(*codec)).map(|codec| Matmul::new(codec, 1)));
        all.push(Matmul { rows: TileRows::Heads(3), ..Matmul::new(Codec::F16, 1) });
        let sizes = |product| MatrixSize::ALL.map(|size| Self { product, size });
        distinct(all.into_iter().flat_map(sizes).collect())
    }

    fn check(self, params: &LinearParams) -> Result<()> {
        let codec = self.product.codec;
        require(Self::NAME, "codec", Self::takes(codec), "f16 or integers", format_args!("{codec:?}"))?;
        self.product.inputs.check_floats(Self::NAME)?;
        self.product.check_for(Self::NAME, params)
    }

    fn sizes(self, params: &LinearParams, rows: u32) -> Vec<(&'static str, u64)> {
        self.product.sizes(params, rows)
    }

    fn workgroups(self, params: &LinearParams, span: Span) -> u64 {
        self.product.tiles(params, span, TILE_OUTPUTS).count()
    }

    fn work(self, params: &LinearParams, span: Span) -> Work {
        let tiles = self.product.computed_tiles(params, span, TILE_OUTPUTS);
        let (inputs, outputs) = (u64::from(params.in_features), u64::from(params.out_features));
        let rows = tiles.rows.rows;
        let padded = inputs.next_multiple_of(DEPTH);
        // A block without a row is not multiplied.
        let block_rows = self.product.executed_rows(tiles, u64::from(2 * self.size.side()));
        let multiplied = block_rows * tiles.output_tiles * TILE_OUTPUTS * padded;
        // Of every input the magnitude is compared, and it is scaled; of every sum the scale is undone.
        let filled = tiles.count() * u64::from(TILE_ROWS);
        let scaling = filled * (inputs.next_multiple_of(4) + padded) + rows * outputs;
        // Inputs are read for their magnitudes, and once more for the product.
        let work = self
            .product
            .operand_work(params, tiles, 2)
            .with_ops(OpClass::CoopFma, rows * inputs * outputs, multiplied)
            .with_ops(OpClass::F32Other, 0, scaling);
        self.product.epilogue.work(params, rows, work)
    }

    fn whole(self) -> Option<Self> {
        self.product.whole().map(|product| Self { product, ..self })
    }
}
