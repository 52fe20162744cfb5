//! Products of a weight matrix with a few rows: decode.

mod block;
mod rows;
mod tile;

pub use rows::VecRows;
pub use tile::VecTile;

use super::linear::LinearParams;
use super::tile_rows::{RowBlocks, TileRows};
use crate::Result;
use crate::energy::{ByteClass, Work};
use crate::fragments::{Codec, Epilogue, InputNorm, InputRows, Members, Reduce};
use crate::gpu::Capabilities;
use crate::kernel::check::require;
use crate::kernel::{Binding, Kernel, Span, distinct};
use crate::quant::{WeightFormat, Width};
use crate::shader::{Source, fragment};

/// `y[r, n] = epilogue(sum_k w[n, k] norm(x[r, k]))`, a tile of rows and outputs for every team of lanes.
///
/// Weights are `[N, K]`, or `[E, N, K]` of experts; `x` is `[rows, K]`. The output is `[rows, N]`, half as wide where
/// gated; of experts it has a row for every (token, choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matvec {
    /// How weights are stored.
    pub codec: Codec,
    /// How the input is read.
    pub inputs: InputRows,
    /// Norm of the input.
    pub norm: InputNorm,
    /// What happens to the sum.
    pub epilogue: Epilogue,
    /// Which rows.
    pub rows: VecRows,
    /// How lanes add.
    pub reduce: Reduce,
    /// How the work is divided.
    pub tile: VecTile,
}

impl Matvec {
    /// A product and nothing else, of every row, on any device; others differ from it in some field.
    pub fn new(codec: Codec, in_features: u32) -> Self {
        Self {
            codec,
            inputs: InputRows::of(in_features),
            norm: InputNorm::None,
            epilogue: Epilogue::NONE,
            rows: VecRows::DENSE,
            reduce: Reduce::Workgroup,
            tile: VecTile::shared(in_features, 1),
        }
    }

    /// Rows of tiles of experts: with every epilogue and every codec, each in every tile, by turns.
    fn variants_of_groups() -> Vec<Self> {
        let groups = TileRows::variants().into_iter().filter(|tiles| *tiles != TileRows::Dense);
        let ways = || groups.clone().cycle().zip(VecTile::variants().cycle());
        let plain = |codec, (rows, tile)| Self { rows: VecRows::Tiles(rows), tile, ..Self::new(codec, 1) };
        let int4 = Codec::of(WeightFormat::int(Width::Int4), &Capabilities::webgpu());
        // Experts' outputs are added by moe_combine.
        let epilogues = Epilogue::all().into_iter().chain(Epilogue::of_weighted_inputs());
        let epilogues = epilogues.filter(|epilogue| !epilogue.residual);
        let mut all: Vec<_> =
            epilogues.zip(ways()).map(|(epilogue, way)| Self { epilogue, ..plain(int4, way) }).collect();
        for (codec, first) in Codec::all().zip(0..) {
            let ways = ways().skip(first).take(VecTile::variants().count());
            for (way, inputs) in ways.zip(InputRows::FLOATS.into_iter().cycle()) {
                all.extend(Reduce::ALL.map(|reduce| Self { inputs, reduce, ..plain(codec, way) }));
                all.extend(codec.is_int().then(|| Self { inputs: InputRows::I8, ..plain(codec, way) }));
            }
        }
        all
    }

    /// Workgroups across the outputs.
    fn output_tiles(self, params: &LinearParams) -> u64 {
        let outputs = self.tile.teams() * u64::from(self.tile.outputs);
        u64::from(params.out_features).div_ceil(outputs)
    }
}

impl Kernel for Matvec {
    type Params = LinearParams;
    const NAME: &'static str = "matvec";

    fn source(self) -> Source {
        let source = self
            .codec
            .add_to(Source::kernel(Self::NAME, fragment!("matvec.wgsl")))
            .with(fragment!("linear/params.wgsl"));
        let VecTile { lanes, team, outputs, rows } = self.tile;
        let source = self.add_block(self.inputs.add_to(self.rows.add_to(source, rows)));
        let source = match self.inputs {
            InputRows::Any | InputRows::Quads => self.add_floats(source),
            InputRows::I8 => self.add_i8(source),
        };
        let source = match team {
            1 => source.with(fragment!("team/lane.wgsl")),
            _ => source.with(fragment!("team/workgroup.wgsl")),
        };
        self.reduce
            .add_to(self.epilogue.add_to(self.norm.add_to(source)))
            .constant("WORKGROUP_SIZE", lanes)
            .constant("TEAM", team)
            .constant("OUTPUTS", outputs)
    }

    fn bindings(self) -> Vec<Binding> {
        [Binding::PARAMS, Binding::read(4, "x")]
            .into_iter()
            .chain(self.codec.bindings())
            .chain(self.epilogue.bindings())
            .chain(self.norm.binding())
            .chain(self.rows.bindings())
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        let tile = VecTile { lanes: 64, team: 64, outputs: 4, rows: 1 };
        let plain = |codec| Self { inputs: InputRows::Any, tile, ..Self::new(codec, 1) };
        let part = VecRows::SelectedOf(Members { count: 3, of: 5 });
        let ways = [VecRows::DENSE, VecRows::Last, VecRows::Selected, part];
        // What becomes of a sum does not hang on how weights are stored: every epilogue goes with two codecs, ...
        for codec in [Codec::F32, Codec::of(WeightFormat::int(Width::Int4), &Capabilities::webgpu())] {
            for norm in InputNorm::ALL {
                for epilogue in Epilogue::all() {
                    for rows in ways {
                        // The head is the only product that wants the last row alone, and it adds nothing.
                        let adds = epilogue.bias || epilogue.residual || epilogue.gated || epilogue.factor;
                        if rows == VecRows::Last && adds {
                            continue;
                        }
                        // Experts' outputs are added by moe_combine.
                        if rows.is_per_choice() && epilogue.residual {
                            continue;
                        }
                        all.extend(Reduce::ALL.map(|reduce| Self {
                            norm,
                            epilogue,
                            rows,
                            reduce,
                            ..plain(codec)
                        }));
                    }
                }
            }
        }
        // Weights of inputs are an expert's.
        for (epilogue, rows) in
            Epilogue::of_weighted_inputs().into_iter().flat_map(|e| [(e, ways[2]), (e, ways[3])])
        {
            all.extend(InputNorm::ALL.map(|norm| Self { norm, epilogue, rows, ..plain(Codec::F32) }));
        }
        all.extend(Self::variants_of_groups());
        // ... and every codec with every way to find rows, to share inputs, and to divide the work.
        for codec in Codec::all() {
            if codec.is_int() {
                let i8 = Self { inputs: InputRows::I8, ..plain(codec) };
                all.extend(ways.map(|rows| Self { rows, ..i8 }));
                for reduce in Reduce::ALL {
                    all.extend(VecTile::variants().map(|tile| Self { tile, reduce, ..i8 }));
                }
            }
            for rows in ways {
                for norm in InputNorm::ALL {
                    all.extend(Reduce::ALL.map(|reduce| Self { norm, rows, reduce, ..plain(codec) }));
                }
            }
            for norm in InputNorm::ALL {
                all.push(Self { inputs: InputRows::Quads, norm, ..plain(codec) });
            }
            for reduce in Reduce::ALL {
                all.extend(VecTile::variants().map(|tile| Self { tile, reduce, ..plain(codec) }));
            }
        }
        distinct(all)
    }

    fn check(self, params: &LinearParams) -> Result<()> {
        self.inputs.check(Self::NAME, params.in_features)?;
        self.codec.check_inputs(Self::NAME, self.inputs)?;
        let sorted = matches!(self.rows, VecRows::Tiles(tiles) if tiles != TileRows::Dense);
        let normed = self.norm != InputNorm::None && (sorted || self.inputs == InputRows::I8);
        let expected = "none of inputs that are codes, or of rows sorted by expert";
        require(Self::NAME, "norm", !normed, expected, format_args!("{:?}", self.norm))?;
        self.tile.check(self.norm != InputNorm::None || !matches!(self.rows, VecRows::Tiles(_)))?;
        self.rows.check(params)?;
        params.check(Self::NAME, self.codec, self.epilogue, self.rows.is_per_choice())
    }

    fn sizes(self, params: &LinearParams, rows: u32) -> Vec<(&'static str, u64)> {
        let (matrices, outputs) = self.rows.bound(rows, params);
        let inputs = self.rows.input_rows(rows, params);
        [("x", self.inputs.tensor_bytes(inputs, params.in_features))]
            .into_iter()
            .chain(self.codec.sizes([matrices, params.out_features], params.row_words, params.blocks))
            .chain(self.epilogue.sizes(params, matrices, outputs))
            .chain(self.norm.size(params.in_features))
            .chain(self.rows.plan_sizes(rows, params))
            .collect()
    }

    fn workgroups(self, params: &LinearParams, span: Span) -> u64 {
        self.workgroups_of(params, &[span])
    }

    fn workgroups_of(self, params: &LinearParams, spans: &[Span]) -> u64 {
        let span = self.rows.span(spans);
        self.rows.launched_blocks(params, span, self.tile.rows) * self.output_tiles(params)
    }

    fn work(self, params: &LinearParams, span: Span) -> Work {
        self.work_of(params, &[span])
    }

    fn work_of(self, params: &LinearParams, spans: &[Span]) -> Work {
        let span = self.rows.span(spans);
        let blocks = self.rows.computed_blocks(params, span, self.tile.rows);
        let RowBlocks { rows, distinct_inputs, blocks } = blocks;
        let (inputs, outputs) = (u64::from(params.in_features), u64::from(params.out_features));
        let output_tiles = self.output_tiles(params);
        // A team reads its inputs once for all its outputs.
        let teams = output_tiles * self.tile.teams();
        let (word_bytes, scale_bytes) = params.weight_bytes(self.codec);
        let matrices = self.rows.hit_matrices(rows);
        let stepped = inputs.next_multiple_of(self.inputs.step());
        let decoded = blocks * stepped * teams * u64::from(self.tile.outputs);
        let (useful, executed) = (rows * inputs * outputs, decoded * u64::from(self.tile.rows));
        let input_bytes = self.inputs.row_bytes(params.in_features);
        let read_inputs = blocks * u64::from(self.rows_read()) * teams * input_bytes;
        let scale_requests = blocks * params.scale_requests(self.codec, self.inputs);
        let work = Work::default()
            .with_bytes(ByteClass::Weight, matrices * word_bytes, blocks * word_bytes)
            .with_bytes(ByteClass::ScaleZp, matrices * scale_bytes, scale_requests)
            .with_bytes(ByteClass::ActIn, distinct_inputs * input_bytes, read_inputs)
            .or_less(self.rows.may_be_fewer(span));
        let work = self.inputs.work(useful, executed, work);
        let work = self.codec.work(outputs * inputs * matrices, decoded, work);
        self.epilogue.work(params, rows, self.norm.work(inputs, distinct_inputs, [output_tiles; 2], work))
    }

    fn whole(self) -> Option<Self> {
        self.rows.whole().map(|rows| Self { rows, ..self })
    }
}
