//! Rows of inputs as blocks of 8-bit codes: what products on the integer path start from.

use super::expert_plan::{ChosenSlots, ExpertShare};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{INPUT_BLOCK, InputNorm, InputRows, Reduce, add_capacity};
use crate::kernel::check::{positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Lanes of a workgroup, each of which writes a block.
const LANES: u32 = 64;

params! {
    /// The uniform of `quantize`.
    pub struct QuantizeParams {
        /// Inputs of a row.
        pub in_features: u32,
        /// Rows that a token has: its choices on the way out of the experts, else 1.
        pub rows_per_token: u32,
        /// Of the fused norm.
        pub eps: f32,
        /// Experts, where rows are their slots.
        pub experts: u32,
        /// Of [`ExpertShare`], what each of them takes.
        pub share_numerator: u32,
        /// Of it.
        pub share_denominator: u32,
        /// Of it.
        pub share_round: u32,
    }
}

impl QuantizeParams {
    /// Rows of tokens, so many for each.
    pub const fn new(in_features: u32, rows_per_token: u32, eps: f32) -> Self {
        let ExpertShare { numerator, denominator, round } = ExpertShare::ALL;
        Self {
            in_features,
            rows_per_token,
            eps,
            experts: 0,
            share_numerator: numerator,
            share_denominator: denominator,
            share_round: round,
        }
    }

    /// The slots of experts that chose their tokens.
    pub fn chosen(in_features: u32, ChosenSlots { experts, share }: ChosenSlots) -> Self {
        Self {
            experts,
            share_numerator: share.numerator,
            share_denominator: share.denominator,
            share_round: share.round,
            ..Self::new(in_features, 1, 0.0)
        }
    }

    fn slots(&self) -> ChosenSlots {
        let share = ExpertShare {
            numerator: self.share_numerator,
            denominator: self.share_denominator,
            round: self.share_round,
        };
        ChosenSlots { experts: self.experts, share }
    }
}

/// `y[r, b] = codes of norm(x[r, 32 b .. 32 b + 31])`, signed, of 8 bits: `scale = max |x| / 127`,
/// `code = round(x / scale)`. A block of zeros has scale 1.
///
/// `x` is `[rows, K]`; `y` has `ceil(K / 32)` blocks for each row, of 48 bytes: 32 codes, the scale, the sum of the codes
/// as f32, and 8 bytes unused. Magnitudes below 1e-30 count as zero. A block in which something is not finite has a
/// scale that is not either, so that it shows in whatever is computed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quantize {
    /// How the input is read: as floats.
    pub inputs: InputRows,
    /// Norm of the input.
    pub norm: InputNorm,
    /// Whether only the last row of each sequence is computed; it stays where it is.
    pub last: bool,
    /// Whether rows are the slots of experts that chose their tokens.
    pub chosen: bool,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Quantize {
    fn rows(self, params: &QuantizeParams, spans: &[Span]) -> u64 {
        let rows = Span::total_rows(spans);
        match (self.last, self.chosen) {
            (true, _) => spans.len() as u64,
            (false, true) => params.slots().of(rows).into(),
            (false, false) => u64::from(rows) * u64::from(params.rows_per_token),
        }
    }
}

fn blocks(params: &QuantizeParams) -> u64 {
    u64::from(params.in_features.div_ceil(INPUT_BLOCK))
}

impl Kernel for Quantize {
    type Params = QuantizeParams;
    const NAME: &'static str = "quantize";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("quantize.wgsl"))
            .with(fragment!("common/input_block.wgsl"))
            .with_span();
        let source = match self.chosen {
            true => add_capacity(true, source.with(fragment!("row_total/chosen.wgsl"))),
            false => source.with(fragment!("row_total/per_token.wgsl")),
        };
        let source = self.norm.add_to(self.inputs.add_to(source));
        self.reduce.add_to(source).constant("WORKGROUP_SIZE", LANES).flag("LAST", self.last)
    }

    fn bindings(self) -> Vec<Binding> {
        [Binding::PARAMS, Binding::SPAN, Binding::read(4, "x"), Binding::write(7, "y")]
            .into_iter()
            .chain(self.norm.binding())
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for inputs in InputRows::FLOATS {
            for norm in InputNorm::ALL {
                for last in [false, true] {
                    all.extend(Reduce::ALL.map(|reduce| Self { inputs, norm, last, chosen: false, reduce }));
                }
            }
            // Slots have been normed as tokens.
            let norm = InputNorm::None;
            all.extend(Reduce::ALL.map(|reduce| Self { inputs, norm, last: false, chosen: true, reduce }));
        }
        all
    }

    fn check(self, params: &QuantizeParams) -> Result<()> {
        self.inputs.check_floats(Self::NAME)?;
        self.inputs.check(Self::NAME, params.in_features)?;
        let once = !self.last || params.rows_per_token == 1;
        require(
            Self::NAME,
            "rows_per_token",
            once,
            "1 where only the last row is computed",
            params.rows_per_token,
        )?;
        require(Self::NAME, "last", !(self.last && self.chosen), "every slot of experts", "the last row")?;
        if self.chosen {
            positive(Self::NAME, [("experts", params.experts)])?;
            params.slots().share.check(Self::NAME)?;
        }
        let numbers = [("in_features", params.in_features), ("rows_per_token", params.rows_per_token)];
        positive(Self::NAME, numbers)
    }

    fn sizes(self, params: &QuantizeParams, rows: u32) -> Vec<(&'static str, u64)> {
        let rows = if self.chosen { [params.slots().of(rows), 1] } else { [rows, params.rows_per_token] };
        let of = |inputs: InputRows| inputs.tensor_bytes(rows, params.in_features);
        [("x", of(self.inputs)), ("y", of(InputRows::I8))]
            .into_iter()
            .chain(self.norm.size(params.in_features))
            .collect()
    }

    fn workgroups(self, params: &QuantizeParams, span: Span) -> u64 {
        self.workgroups_of(params, &[span])
    }

    fn workgroups_of(self, params: &QuantizeParams, spans: &[Span]) -> u64 {
        self.rows(params, spans) * blocks(params).div_ceil(LANES.into())
    }

    fn work(self, params: &QuantizeParams, span: Span) -> Work {
        self.work_of(params, &[span])
    }

    fn work_of(self, params: &QuantizeParams, spans: &[Span]) -> Work {
        let (rows, inputs) = (self.rows(params, spans), u64::from(params.in_features));
        let of = |inputs: InputRows| rows * inputs.row_bytes(params.in_features);
        let (read, written) = (of(self.inputs), of(InputRows::I8));
        // Padding is computed too: a magnitude and a scaled value of every input, a dot for every four, and a division.
        let (useful, executed) = (rows * inputs, rows * blocks(params) * u64::from(INPUT_BLOCK));
        let work = Work::default()
            .with_bytes(ByteClass::ActIn, read, read)
            .with_bytes(ByteClass::ActOut, written, written)
            .with_ops(OpClass::F32Other, 2 * useful, 2 * executed)
            .with_ops(OpClass::I8Dot4, useful.div_ceil(4), executed / 4)
            .with_ops(OpClass::Sfu, 2 * rows * blocks(params), 2 * rows * blocks(params));
        self.norm.work(inputs, rows, [blocks(params).div_ceil(LANES.into()), 1], work)
    }
}
