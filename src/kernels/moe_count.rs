//! The expert plan, first part: slots per expert in every run of slots.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::{at_most, bytes, positive};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `moe_count` and `moe_place`.
    pub struct MoeSlotParams {
        /// Experts, `E`.
        pub experts: u32,
        /// Experts per token, `k`.
        pub choices: u32,
    }
}

impl MoeSlotParams {
    /// (token, choice) pairs of a call.
    pub fn slots(&self, span: Span) -> u64 {
        u64::from(span.rows) * u64::from(self.choices)
    }
}

/// Slots that one workgroup of the plan handles.
pub const RUN: u64 = 256;

/// Bytes of a table of runs by experts.
pub(crate) fn run_bytes([tokens, choices]: [u32; 2], experts: u32) -> u64 {
    let runs = (u64::from(tokens) * u64::from(choices)).div_ceil(RUN);
    runs.saturating_mul(bytes([experts]))
}

/// Refuses more choices than experts, or none of either.
pub(crate) fn check_choices(kernel: &'static str, experts: u32, choices: u32) -> Result<()> {
    positive(kernel, [("experts", experts)])?;
    at_most(kernel, "choices", experts, choices)
}

/// `counts[run, e]` = slots of that run which chose expert `e`: `[rows, k]` to `[runs, E]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeCount;

impl Kernel for MoeCount {
    type Params = MoeSlotParams;
    const NAME: &'static str = "moe_count";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_count.wgsl"))
            .with(fragment!("common/span.wgsl"))
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", RUN as u32)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "expert_of_slot"), Binding::write(3, "counts")]
    }

    fn variants() -> Vec<Self> {
        vec![Self]
    }

    fn check(self, params: &MoeSlotParams) -> Result<()> {
        check_choices(Self::NAME, params.experts, params.choices)
    }

    fn sizes(self, params: &MoeSlotParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = [rows, params.choices];
        vec![("expert_of_slot", bytes(slots)), ("counts", run_bytes(slots, params.experts))]
    }

    fn workgroups(self, params: &MoeSlotParams, span: Span) -> u64 {
        params.slots(span).div_ceil(RUN)
    }

    fn work(self, params: &MoeSlotParams, span: Span) -> Work {
        let slots = params.slots(span);
        let counts = self.workgroups(params, span) * u64::from(params.experts) * 4;
        let compared = slots * u64::from(params.experts);
        Work::default().with_bytes(ByteClass::Index, slots * 4 + counts, slots * 4 + counts).with_ops(
            OpClass::I32Alu,
            slots,
            compared,
        )
    }
}
