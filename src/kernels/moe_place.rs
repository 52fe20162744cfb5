//! The expert plan, third part: slots sorted by expert.

use super::expert_plan::{MoeSlotParams, RUN, check_choices, run_bytes};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{Queue, add_capacity};
use crate::kernel::check::{bytes, require};
use crate::kernel::{Binding, Kernel, Span};
use crate::shader::{Source, fragment};

/// `slot_of_place[offset + rank] = slot`, in the order of the queue within an expert: choices and ranks `[rows, k]` and offsets
/// `[runs, E]` to `[rows k]`; and where it is marked, the place of each slot, `[rows, k]`, 2^32 - 1 where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoePlace {
    /// The order of slots, which runs are cut from.
    pub queue: Queue,
    /// Whether an expert takes no more than a share.
    pub limited: bool,
    /// Whether the place of each slot is written.
    pub marked: bool,
}

impl MoePlace {
    /// Slots in the order of tokens, each with a place.
    pub const ALL: Self = Self { queue: Queue::TokenMajor, limited: false, marked: false };
}

impl Kernel for MoePlace {
    type Params = MoeSlotParams;
    const NAME: &'static str = "moe_place";

    fn source(self) -> Source {
        let source = self.queue.add_to(Source::kernel(Self::NAME, fragment!("moe_place.wgsl")));
        add_capacity(self.limited, source)
            .with(match self.marked {
                true => fragment!("place_mark/stored.wgsl"),
                false => fragment!("place_mark/none.wgsl"),
            })
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", RUN as u32)
            .flag("LIMITED", self.limited)
    }

    fn bindings(self) -> Vec<Binding> {
        let mark = self.marked.then_some(Binding::write(6, "place_of_slot"));
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "expert_of_slot"),
            Binding::read(3, "rank_of_slot"),
            Binding::read(4, "offsets"),
            Binding::write(5, "slot_of_place"),
        ]
        .into_iter()
        .chain(mark)
        .chain(self.queue.binding())
        .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for queue in Queue::ALL {
            all.extend([false, true].map(|marked| Self { queue, limited: false, marked }));
            all.push(Self { queue, limited: true, marked: true });
        }
        all
    }

    fn check(self, params: &MoeSlotParams) -> Result<()> {
        let is_told = self.marked || !self.limited;
        require(Self::NAME, "marked", is_told, "true where slots can be left without a place", self.marked)?;
        if self.limited {
            params.share().check(Self::NAME)?;
        }
        check_choices(Self::NAME, params.experts, params.choices)
    }

    fn sizes(self, params: &MoeSlotParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = [rows, params.choices];
        [
            ("expert_of_slot", bytes(slots)),
            ("rank_of_slot", bytes(slots)),
            ("offsets", run_bytes(slots, params.experts)),
            ("slot_of_place", bytes(slots)),
        ]
        .into_iter()
        .chain(self.marked.then(|| ("place_of_slot", bytes(slots))))
        .chain(self.queue.size(rows))
        .collect()
    }

    fn workgroups(self, params: &MoeSlotParams, span: Span) -> u64 {
        params.slots(span).div_ceil(RUN)
    }

    fn work(self, params: &MoeSlotParams, span: Span) -> Work {
        let slots = params.slots(span);
        // Where the expert's first place is, where there is a limit, and the mark.
        let each = 16 + 4 * (u64::from(self.limited) + u64::from(self.marked));
        let bytes = slots * each + self.queue.read_bytes(slots);
        let ops = slots * (1 + u64::from(self.limited));
        Work::default().with_bytes(ByteClass::Index, bytes, bytes).with_ops(OpClass::I32Alu, ops, ops)
    }
}
