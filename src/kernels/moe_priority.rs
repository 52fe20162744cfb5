//! Tokens in the order in which their choices are granted.

use super::expert_plan::RUN;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::{bytes, positive};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Lanes of a workgroup, each of which ranks four tokens: those of a run's slots, where each has one.
const LANES: u32 = 64;
const _: () = assert!(RUN == 4 * LANES as u64);

params! {
    /// The uniform of `moe_priority`.
    pub struct MoePriorityParams {
        /// Experts per token, `k`.
        pub choices: u32,
    }
}

/// `token_of_rank` sorts tokens by their largest weight, largest first, ties to the earlier token (batch prioritized routing,
/// arXiv 2106.05974, section 3): weights `[rows, k]` to `[rows]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoePriority;

impl Kernel for MoePriority {
    type Params = MoePriorityParams;
    const NAME: &'static str = "moe_priority";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_priority.wgsl"))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "weight_of_slot"),
            Binding::write(3, "token_of_rank"),
        ]
    }

    fn variants() -> Vec<Self> {
        vec![Self]
    }

    fn check(self, params: &MoePriorityParams) -> Result<()> {
        positive(Self::NAME, [("choices", params.choices)])
    }

    fn sizes(self, params: &MoePriorityParams, rows: u32) -> Vec<(&'static str, u64)> {
        vec![("weight_of_slot", bytes([rows, params.choices])), ("token_of_rank", bytes([rows]))]
    }

    /// As many as there are runs of slots, so that a workgroup ranks fewer tokens where they have more choices.
    fn workgroups(self, params: &MoePriorityParams, span: Span) -> u64 {
        let parts = u64::from(params.choices.min(LANES).next_power_of_two());
        u64::from(span.rows).div_ceil(RUN / parts)
    }

    fn work(self, params: &MoePriorityParams, span: Span) -> Work {
        let (rows, choices) = (u64::from(span.rows), u64::from(params.choices));
        // Every workgroup looks at every token, and as many lanes as share a rank at its own.
        let parts = u64::from(params.choices.min(LANES).next_power_of_two());
        let read = (self.workgroups(params, span) + parts) * rows * choices * 4;
        Work::default().with_bytes(ByteClass::Index, rows * choices * 4 + rows * 4, read + rows * 4).with_ops(
            OpClass::F32Other,
            rows,
            rows * rows,
        )
    }
}
