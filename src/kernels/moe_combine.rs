//! What a token's experts computed, joined.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::residual_fragment;
use crate::kernel::check::{bytes, positive};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `moe_combine`.
    pub struct MoeCombineParams {
        /// Width of a row, `d`.
        pub hidden_size: u32,
        /// Experts per token, `k`.
        pub choices: u32,
    }
}

/// Lanes of a workgroup.
const LANES: u32 = 64;

/// `y[t] = residual[t] + sum_j weight[t, j] expert_rows[t, j]`, choices in order.
///
/// Expert rows are `[rows, k, d]`, weights `[rows, k]`, residual and output `[rows, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeCombine {
    /// Whether a residual is added.
    pub residual: bool,
}

impl Kernel for MoeCombine {
    type Params = MoeCombineParams;
    const NAME: &'static str = "moe_combine";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_combine.wgsl"))
            .with(residual_fragment(self.residual))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        let residual = self.residual.then_some(Binding::read(6, "residual"));
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "expert_rows"),
            Binding::read(3, "weight_of_slot"),
            Binding::write(7, "y"),
        ]
        .into_iter()
        .chain(residual)
        .collect()
    }

    fn variants() -> Vec<Self> {
        [false, true].map(|residual| Self { residual }).to_vec()
    }

    fn check(self, params: &MoeCombineParams) -> Result<()> {
        positive(Self::NAME, [("hidden_size", params.hidden_size), ("choices", params.choices)])
    }

    fn sizes(self, params: &MoeCombineParams, rows: u32) -> Vec<(&'static str, u64)> {
        let MoeCombineParams { hidden_size, choices } = *params;
        let y = bytes([rows, hidden_size]);
        let residual = self.residual.then_some(("residual", y));
        let expert_rows = bytes([rows, choices, hidden_size]);
        [("expert_rows", expert_rows), ("weight_of_slot", bytes([rows, choices])), ("y", y)]
            .into_iter()
            .chain(residual)
            .collect()
    }

    fn workgroups(self, params: &MoeCombineParams, span: Span) -> u64 {
        (u64::from(span.rows) * u64::from(params.hidden_size)).div_ceil(u64::from(LANES))
    }

    fn work(self, params: &MoeCombineParams, span: Span) -> Work {
        let elements = u64::from(span.rows) * u64::from(params.hidden_size);
        let choices = u64::from(params.choices);
        let residual = if self.residual { elements } else { 0 };
        Work::default()
            .with_bytes(ByteClass::ActIn, (elements * choices + residual) * 4, {
                (elements * choices + residual) * 4
            })
            .with_bytes(ByteClass::Index, u64::from(span.rows) * choices * 4, elements * choices * 4)
            .with_bytes(ByteClass::ActOut, elements * 4, elements * 4)
            .with_ops(OpClass::F32Fma, elements * choices, elements * choices)
            .with_ops(OpClass::F32Other, residual, residual)
    }
}
