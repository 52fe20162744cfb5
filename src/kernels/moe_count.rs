//! The expert plan, first part: slots per expert in every run of slots.

use super::expert_plan::{MoeSlotParams, RUN, check_choices, run_bytes};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::bytes;
use crate::kernel::{Binding, Kernel, Span};
use crate::shader::{Source, fragment};

/// `counts[run, e]` = slots of that run which chose expert `e`: `[rows, k]` to `[runs, E]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeCount;

impl Kernel for MoeCount {
    type Params = MoeSlotParams;
    const NAME: &'static str = "moe_count";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_count.wgsl"))
            .with_span()
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
