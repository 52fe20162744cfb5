//! The expert plan, first part: slots ranked and counted by expert in every run of slots.

use super::expert_plan::MAX_EXPERTS;
use super::expert_plan::{MoeSlotParams, RUN, check_choices, run_bytes};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Queue;
use crate::kernel::check::{at_most, bytes, require};
use crate::kernel::{Binding, Kernel, Span};
use crate::shader::{Source, fragment};

/// `counts[run, e]` = slots of that run which chose expert `e`, and `rank[slot]` = those of them before the slot: `[rows, k]`
/// to `[runs, E]` and `[rows, k]`. A slot whose expert is 2^32 - 1 is counted for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeCount {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
    /// The order of slots, which runs are cut from.
    pub queue: Queue,
}

impl Kernel for MoeCount {
    type Params = MoeSlotParams;
    const NAME: &'static str = "moe_count";

    fn source(self) -> Source {
        self.queue
            .add_to(Source::kernel(Self::NAME, fragment!("moe_count.wgsl")))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", RUN as u32)
            .constant("EXPERTS", self.experts)
    }

    fn bindings(self) -> Vec<Binding> {
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "expert_of_slot"),
            Binding::write(3, "counts"),
            Binding::write(4, "rank_of_slot"),
        ]
        .into_iter()
        .chain(self.queue.binding())
        .collect()
    }

    fn variants() -> Vec<Self> {
        let of = |experts| Queue::ALL.map(|queue| Self { experts, queue });
        [1, 4, 8, 64, 512, MAX_EXPERTS].map(of).concat()
    }

    fn check(self, params: &MoeSlotParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        let same = params.experts == self.experts;
        require(Self::NAME, "experts", same, format_args!("the variant's {}", self.experts), params.experts)?;
        check_choices(Self::NAME, params.experts, params.choices)
    }

    fn sizes(self, params: &MoeSlotParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = [rows, params.choices];
        let counts = run_bytes(slots, params.experts);
        [("expert_of_slot", bytes(slots)), ("counts", counts), ("rank_of_slot", bytes(slots))]
            .into_iter()
            .chain(self.queue.size(rows))
            .collect()
    }

    fn workgroups(self, params: &MoeSlotParams, span: Span) -> u64 {
        params.slots(span).div_ceil(RUN)
    }

    fn work(self, params: &MoeSlotParams, span: Span) -> Work {
        let slots = params.slots(span);
        let counts = self.workgroups(params, span) * u64::from(params.experts) * 4;
        let bytes = slots * 8 + counts + self.queue.read_bytes(slots);
        let compared = 2 * slots * RUN.min(slots);
        Work::default().with_bytes(ByteClass::Index, bytes, bytes).with_ops(OpClass::I32Alu, slots, compared)
    }
}
