//! The expert plan, third part: slots sorted by expert.

use super::expert_plan::{MoeSlotParams, RUN, check_choices, run_bytes};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::bytes;
use crate::kernel::{Binding, Kernel, Span};
use crate::shader::{Source, fragment};

/// `slot_of_place[offset + rank] = slot`, stable within an expert: choices and ranks `[rows, k]` and offsets `[runs, E]` to
/// `[rows k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoePlace;

impl Kernel for MoePlace {
    type Params = MoeSlotParams;
    const NAME: &'static str = "moe_place";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("moe_place.wgsl"))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", RUN as u32)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "expert_of_slot"),
            Binding::read(3, "rank_of_slot"),
            Binding::read(4, "offsets"),
            Binding::write(5, "slot_of_place"),
        ]
    }

    fn variants() -> Vec<Self> {
        vec![Self]
    }

    fn check(self, params: &MoeSlotParams) -> Result<()> {
        check_choices(Self::NAME, params.experts, params.choices)
    }

    fn sizes(self, params: &MoeSlotParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = [rows, params.choices];
        vec![
            ("expert_of_slot", bytes(slots)),
            ("rank_of_slot", bytes(slots)),
            ("offsets", run_bytes(slots, params.experts)),
            ("slot_of_place", bytes(slots)),
        ]
    }

    fn workgroups(self, params: &MoeSlotParams, span: Span) -> u64 {
        params.slots(span).div_ceil(RUN)
    }

    fn work(self, params: &MoeSlotParams, span: Span) -> Work {
        let slots = params.slots(span);
        Work::default().with_bytes(ByteClass::Index, slots * 16, slots * 16).with_ops(
            OpClass::I32Alu,
            slots,
            slots,
        )
    }
}
