//! Products of a weight matrix with a few rows: decode.

use super::linear::LinearParams;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{Codec, Epilogue, InputNorm, Reduce};
use crate::kernel::check::{bytes, require};
use crate::kernel::{Binding, Kernel, Span};
use crate::shader::{Source, fragment};

/// Outputs that one workgroup computes.
const OUTPUTS: u64 = 4;

/// `y[r, n] = epilogue(sum_k w[n, k] norm(x[r, k]))`, one workgroup per row and four outputs.
///
/// Weights are `[N, K]`, or `[E, N, K]` where selected; `x` is `[rows, K]`. The output is `[rows, N]`, half as wide where
/// gated; where selected it has a row for every (token, choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matvec {
    /// How weights are stored.
    pub codec: Codec,
    /// Norm of the input.
    pub norm: InputNorm,
    /// What happens to the sum.
    pub epilogue: Epilogue,
    /// Which rows.
    pub rows: VecRows,
    /// How lanes add.
    pub reduce: Reduce,
    /// Lanes of a workgroup, a power of two.
    pub lanes: u32,
}

/// Which rows a [`Matvec`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VecRows {
    /// Every row of the call.
    Dense,
    /// The last row of the call, written to row 0.
    Last,
    /// Every (token, choice), with the weights of the chosen expert.
    Selected,
}

impl Matvec {
    /// Lanes that keep most of a workgroup busy on rows of `in_features` inputs.
    pub fn lanes_for(in_features: u32) -> u32 {
        in_features.div_ceil(4).next_power_of_two().clamp(32, 256)
    }

    fn row_count(self, params: &LinearParams, span: Span) -> u64 {
        match self.rows {
            VecRows::Dense => u64::from(span.rows),
            VecRows::Last => 1,
            VecRows::Selected => u64::from(span.rows) * u64::from(params.choices),
        }
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
            .with(fragment!("linear/input.wgsl"))
            .with_span()
            .with(match self.rows {
                VecRows::Dense => fragment!("rows/dense.wgsl"),
                VecRows::Last => fragment!("rows/last.wgsl"),
                VecRows::Selected => fragment!("rows/selected.wgsl"),
            });
        self.reduce
            .add_to(self.epilogue.add_to(self.norm.add_to(source)))
            .constant("WORKGROUP_SIZE", self.lanes)
            .constant("OUTPUTS", OUTPUTS as u32)
    }

    fn bindings(self) -> Vec<Binding> {
        let experts = (self.rows == VecRows::Selected).then_some(Binding::read(9, "expert_of_slot"));
        [Binding::PARAMS, Binding::SPAN, Binding::read(4, "x")]
            .into_iter()
            .chain(self.codec.bindings())
            .chain(self.epilogue.bindings())
            .chain(self.norm.binding())
            .chain(experts)
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for codec in Codec::all() {
            for norm in InputNorm::ALL {
                for epilogue in Epilogue::all() {
                    for rows in [VecRows::Dense, VecRows::Last, VecRows::Selected] {
                        // The head is the only product that wants the last row alone, and it adds nothing.
                        if rows == VecRows::Last && (epilogue.bias || epilogue.residual || epilogue.gated) {
                            continue;
                        }
                        // Experts' outputs are added by moe_combine.
                        if rows == VecRows::Selected && epilogue.residual {
                            continue;
                        }
                        for reduce in Reduce::ALL {
                            all.push(Self { codec, norm, epilogue, rows, reduce, lanes: 64 });
                        }
                    }
                }
            }
        }
        // Other lane counts change nothing but the loops over lanes, so they are listed with the plainest epilogue.
        for variant in all.clone() {
            if variant.epilogue == Epilogue::NONE && variant.rows == VecRows::Dense {
                all.extend([32, 128, 256].map(|lanes| Self { lanes, ..variant }));
            }
        }
        all
    }

    fn check(self, params: &LinearParams) -> Result<()> {
        let whole = self.lanes.is_power_of_two() && self.lanes <= 256;
        require(Self::NAME, "lanes", whole, "a power of two up to 256", self.lanes)?;
        params.check(Self::NAME, self.codec, self.epilogue, self.rows == VecRows::Selected)
    }

    fn sizes(self, params: &LinearParams, rows: u32) -> Vec<(&'static str, u64)> {
        // The experts of a token are distinct, so there are at least as many matrices.
        let (matrices, outputs) = match self.rows {
            VecRows::Dense => (1, [rows, 1]),
            VecRows::Last => (1, [1, 1]),
            VecRows::Selected => (params.choices, [rows, params.choices]),
        };
        let slots =
            (self.rows == VecRows::Selected).then_some(("expert_of_slot", bytes([rows, params.choices])));
        [("x", bytes([rows, params.inputs_per_token(), params.in_features]))]
            .into_iter()
            .chain(self.codec.sizes([matrices, params.out_features], params.row_words, params.blocks))
            .chain(self.epilogue.sizes(params, matrices, outputs))
            .chain(self.norm.size(params.in_features))
            .chain(slots)
            .collect()
    }

    fn workgroups(self, params: &LinearParams, span: Span) -> u64 {
        self.row_count(params, span) * u64::from(params.out_features).div_ceil(OUTPUTS)
    }

    fn work(self, params: &LinearParams, span: Span) -> Work {
        let rows = self.row_count(params, span);
        let (inputs, outputs) = (u64::from(params.in_features), u64::from(params.out_features));
        let tiles = outputs.div_ceil(OUTPUTS);
        let (word_bytes, scale_bytes) = params.weight_bytes();
        // A token's choices are distinct experts; several tokens may share some.
        let selected = self.rows == VecRows::Selected;
        let matrices = if selected { rows } else { 1 };
        let distinct_inputs = rows / u64::from(params.slots_per_input);
        let (useful, executed) = (rows * inputs * outputs, rows * inputs * tiles * OUTPUTS);
        let work = Work::default()
            .with_bytes(ByteClass::Weight, matrices * word_bytes, rows * word_bytes)
            .with_bytes(ByteClass::ScaleZp, matrices * scale_bytes, rows * scale_bytes)
            .with_bytes(ByteClass::ActIn, distinct_inputs * inputs * 4, rows * tiles * inputs * 4)
            .with_ops(OpClass::F32Fma, useful, executed)
            .or_less(selected && span.rows > 1);
        let work = self.codec.work(outputs * inputs * matrices, executed, work);
        self.epilogue.work(params, rows, self.norm.work(inputs, distinct_inputs, tiles, work))
    }
}
