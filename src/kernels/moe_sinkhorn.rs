//! Balanced routing by Sinkhorn's iteration.

use super::expert_plan::MAX_EXPERTS;
use super::turns;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::{at_most, bytes, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Lanes of the workgroup.
const LANES: u64 = 256;

params! {
    /// The uniform of `moe_sinkhorn`.
    pub struct MoeSinkhornParams {
        /// Elements between the logits of two tokens, at least `E`.
        pub logit_stride: u32,
        /// Rounds of rows and columns.
        pub iterations: u32,
    }
}

/// Each token's expert after so many rounds of balancing (S-BASE, arXiv 2202.01169, section 3.1), and its softmax probability. A
/// token alone has its best.
///
/// Logits are `[rows, logit_stride]`, of which the first `E` count, clamped to a magnitude of 10^6, NaN as minus that; the
/// expert and its weight are `[rows]`, and so are the factors of rows, which are left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeSinkhorn {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
}

impl MoeSinkhorn {
    /// Refuses what would take more turns of loops than a CPU that plays a GPU makes of them: after those it would leave tokens
    /// without an expert, and say nothing.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where a pass of so many tokens, in so many rounds, does.
    pub fn check_turns(self, rows: u32, iterations: u32, is_cpu: bool) -> Result<()> {
        let (rows, experts) = (u64::from(rows), u64::from(self.experts));
        let each_row = turns::of_loop(rows, LANES, turns::of_loop(experts, 1, 0));
        let each_column = turns::of_loop(experts, LANES, turns::of_loop(rows, 1, 0));
        let rounds = turns::of_loop(iterations.into(), 1, each_row + each_column);
        let turns = rounds.saturating_add(turns::of_loop(experts, LANES, 0) + each_row);
        let holds = !is_cpu || turns <= turns::MOST_ON_CPU;
        let expected = format_args!(
            "so few (`max_chunk`) that they take {} turns of loops on a CPU",
            turns::MOST_ON_CPU
        );
        let found = format_args!("{turns}, of {rows} tokens, {experts} experts and {iterations} iterations");
        require(Self::NAME, "tokens of a pass", holds, expected, found)
    }
}

impl Kernel for MoeSinkhorn {
    type Params = MoeSinkhornParams;
    const NAME: &'static str = "moe_sinkhorn";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_sinkhorn.wgsl"))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES as u32)
            .constant("EXPERTS", self.experts)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "logits"),
            Binding::write(3, "row_factors"),
            Binding::write(4, "expert_of_slot"),
            Binding::write(5, "weight_of_slot"),
        ]
    }

    fn variants() -> Vec<Self> {
        [1, 4, 8, 64, 512, MAX_EXPERTS].map(|experts| Self { experts }).to_vec()
    }

    fn check(self, params: &MoeSinkhornParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        at_most(Self::NAME, "iterations", 1000, params.iterations)?;
        let wide = params.logit_stride >= self.experts;
        let expected = format_args!("at least {}", self.experts);
        require(Self::NAME, "logit_stride", wide, expected, params.logit_stride)
    }

    fn sizes(self, params: &MoeSinkhornParams, rows: u32) -> Vec<(&'static str, u64)> {
        let each = bytes([rows]);
        let logits = bytes([rows, params.logit_stride]);
        vec![("logits", logits), ("row_factors", each), ("expert_of_slot", each), ("weight_of_slot", each)]
    }

    fn workgroups(self, _: &MoeSinkhornParams, _: Span) -> u64 {
        1
    }

    fn work(self, params: &MoeSinkhornParams, span: Span) -> Work {
        let rounds = if span.rows > 1 { u64::from(params.iterations) } else { 0 };
        let rows = u64::from(span.rows);
        let logits = rows * u64::from(self.experts);
        let passes = 2 * rounds + 1;
        Work::default()
            .with_bytes(ByteClass::ActIn, logits * 4, (passes * logits + rows) * 4)
            .with_bytes(ByteClass::ActOut, rows * 4, (rounds * (rows + logits)) * 4)
            .with_bytes(ByteClass::Index, rows * 8, rows * 8)
            .with_ops(OpClass::Sfu, 2 * passes * logits, 2 * passes * logits)
            .with_ops(OpClass::F32Other, 2 * passes * logits, 2 * passes * logits)
    }
}
