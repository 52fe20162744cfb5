//! Products of a weight matrix with a few rows: decode.

mod block;
mod rows;
mod tile;

pub use rows::VecRows;
pub use tile::VecTile;

use super::linear::LinearParams;
use crate::Result;
use crate::energy::{ByteClass, Work};
use crate::fragments::{Codec, Epilogue, InputNorm, InputRows, Members, Reduce};
use crate::gpu::Capabilities;
use crate::kernel::check::{bytes, require};
use crate::kernel::{Binding, Kernel, Span, distinct};
use crate::quant::{WeightFormat, Width};
use crate::shader::{Source, fragment};

/// `y[r, n] = epilogue(sum_k w[n, k] norm(x[r, k]))`, a tile of rows and outputs for every team of lanes.
///
/// Weights are `[N, K]`, or `[E, N, K]` where selected; `x` is `[rows, K]`. The output is `[rows, N]`, half as wide where
/// gated; where selected it has a row for every (token, choice).
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
            rows: VecRows::Dense,
            reduce: Reduce::Workgroup,
            tile: VecTile::shared(in_features, 1),
        }
    }

    /// Tiles of so many rows, and of outputs for a workgroup.
    fn tiles(self, params: &LinearParams, rows: u64) -> [u64; 2] {
        let outputs = self.tile.teams() * u64::from(self.tile.outputs);
        [rows.div_ceil(u64::from(self.tile.rows)), u64::from(params.out_features).div_ceil(outputs)]
    }

    /// Rows that there are workgroups for.
    fn row_count(self, params: &LinearParams, span: Span) -> u64 {
        match self.rows {
            VecRows::Dense => u64::from(span.rows),
            VecRows::Last => 1,
            VecRows::Selected | VecRows::SelectedOf(_) => u64::from(span.rows) * u64::from(params.choices),
        }
    }

    /// Rows that are computed; as many as there can be where only the device knows.
    fn computed_rows(self, params: &LinearParams, span: Span) -> u64 {
        let all = self.row_count(params, span);
        self.rows.members().map_or(all, |part| part.most_slots(span.rows, params.choices))
    }
}

impl Kernel for Matvec {
    type Params = LinearParams;
    const NAME: &'static str = "matvec";

    fn source(self) -> Source {
        let source = self
            .codec
            .add_to(Source::kernel(Self::NAME, fragment!("matvec.wgsl")))
            .with(fragment!("linear/params.wgsl"))
            .with_span();
        let source = self.add_block(self.inputs.add_to(self.rows.add_to(source)));
        let source = match self.inputs {
            InputRows::Any | InputRows::Quads => self.add_floats(source),
            InputRows::I8 => self.add_i8(source),
        };
        let VecTile { lanes, team, outputs, rows } = self.tile;
        let source = match team {
            1 => source.with(fragment!("team/lane.wgsl")),
            _ => source.with(fragment!("team/workgroup.wgsl")),
        };
        self.reduce
            .add_to(self.epilogue.add_to(self.norm.add_to(source)))
            .constant("WORKGROUP_SIZE", lanes)
            .constant("TEAM", team)
            .constant("OUTPUTS", outputs)
            .constant("ROWS", rows)
    }

    fn bindings(self) -> Vec<Binding> {
        [Binding::PARAMS, Binding::SPAN, Binding::read(4, "x")]
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
        let ways = [VecRows::Dense, VecRows::Last, VecRows::Selected, part];
        // What becomes of a sum does not hang on how weights are stored: every epilogue goes with two codecs, ...
        for codec in [Codec::F32, Codec::of(WeightFormat::int(Width::Int4), &Capabilities::webgpu())] {
            for norm in InputNorm::ALL {
                for epilogue in Epilogue::all() {
                    for rows in ways {
                        // The head is the only product that wants the last row alone, and it adds nothing.
                        if rows == VecRows::Last && (epilogue.bias || epilogue.residual || epilogue.gated) {
                            continue;
                        }
                        // Experts' outputs are added by moe_combine.
                        if rows.is_selected() && epilogue.residual {
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
        let normed = self.inputs == InputRows::I8 && self.norm != InputNorm::None;
        require(
            Self::NAME,
            "norm",
            !normed,
            "none of inputs that are codes",
            format_args!("{:?}", self.norm),
        )?;
        self.tile.check(self.norm != InputNorm::None || self.rows != VecRows::Dense)?;
        self.rows.members().map_or(Ok(()), |members| members.check(Self::NAME))?;
        params.check(Self::NAME, self.codec, self.epilogue, self.rows.is_selected())
    }

    fn sizes(self, params: &LinearParams, rows: u32) -> Vec<(&'static str, u64)> {
        // The experts of a token are distinct, so there are at least as many matrices.
        let (matrices, outputs) = match self.rows {
            VecRows::Dense => (1, [rows, 1]),
            VecRows::Last => (1, [1, 1]),
            VecRows::Selected => (params.choices, [rows, params.choices]),
            VecRows::SelectedOf(members) => (members.count, [rows, params.choices]),
        };
        let slots = self.rows.is_selected().then_some(("expert_of_slot", bytes([rows, params.choices])));
        [("x", self.inputs.tensor_bytes([rows, params.inputs_per_token()], params.in_features))]
            .into_iter()
            .chain(self.codec.sizes([matrices, params.out_features], params.row_words, params.blocks))
            .chain(self.epilogue.sizes(params, matrices, outputs))
            .chain(self.norm.size(params.in_features))
            .chain(slots)
            .chain(self.rows.members().map(Members::size))
            .collect()
    }

    fn workgroups(self, params: &LinearParams, span: Span) -> u64 {
        let [row_tiles, output_tiles] = self.tiles(params, self.row_count(params, span));
        row_tiles * output_tiles
    }

    fn work(self, params: &LinearParams, span: Span) -> Work {
        let rows = self.computed_rows(params, span);
        let (inputs, outputs) = (u64::from(params.in_features), u64::from(params.out_features));
        let [row_tiles, output_tiles] = self.tiles(params, rows);
        // A team reads its inputs once for all its outputs.
        let teams = output_tiles * self.tile.teams();
        let (word_bytes, scale_bytes) = params.weight_bytes(self.codec);
        // A token's choices are distinct experts; several tokens may share some.
        let selected = self.rows.is_selected();
        let matrices = if selected { rows } else { 1 };
        let distinct_inputs = params.distinct_inputs(rows, span);
        let stepped = inputs.next_multiple_of(self.inputs.step());
        let decoded = row_tiles * stepped * teams * u64::from(self.tile.outputs);
        let (useful, executed) = (rows * inputs * outputs, decoded * u64::from(self.tile.rows));
        let input_bytes = self.inputs.row_bytes(params.in_features);
        let read_inputs = row_tiles * u64::from(self.rows_read()) * teams * input_bytes;
        let work = Work::default()
            .with_bytes(ByteClass::Weight, matrices * word_bytes, row_tiles * word_bytes)
            .with_bytes(
                ByteClass::ScaleZp,
                matrices * scale_bytes,
                row_tiles * params.scale_requests(self.codec, self.inputs),
            )
            .with_bytes(ByteClass::ActIn, distinct_inputs * input_bytes, read_inputs)
            .or_less(selected && span.rows > 1 || self.rows.members().is_some());
        let work = self.inputs.work(useful, executed, work);
        let work = self.codec.work(outputs * inputs * matrices, decoded, work);
        self.epilogue.work(params, rows, self.norm.work(inputs, distinct_inputs, [output_tiles; 2], work))
    }

    fn whole(self) -> Option<Self> {
        self.rows.members().map(|_| Self { rows: VecRows::Selected, ..self })
    }
}
