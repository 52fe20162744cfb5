//! What the kernels of the expert plan agree on: `moe_count`, `moe_scan`, `moe_place`, and the grouped `matmul` that
//! follows the plan. A slot is a (token, choice) pair.

use crate::Result;
use crate::kernel::check::{at_most, bytes, positive};
use crate::kernel::{Binding, Span, params};
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

/// A part of the experts: those whose weights one dispatch multiplies with. A table says where each one's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Members {
    /// Experts of the part.
    pub count: u32,
    /// All experts, `E`.
    pub of: u32,
}

impl Members {
    /// The table: `[E]`, which of the weights' matrices is an expert's, or 2^32 - 1 for one that is of another part.
    pub(crate) const TABLE: Binding = Binding::read(11, "place_of_expert");

    /// Bytes of the table.
    pub(crate) fn table_size(self) -> (&'static str, u64) {
        (Self::TABLE.name, bytes([self.of]))
    }

    /// Most slots of so many tokens, whose choices are distinct experts, that go to the part.
    pub(crate) fn most_slots(self, tokens: u64, choices: u32) -> u64 {
        tokens * u64::from(self.count.min(choices))
    }

    /// Refuses a part of nothing, and one of more than there is.
    pub(crate) fn check(self, kernel: &'static str) -> Result<()> {
        at_most(kernel, "members", self.of, self.count)
    }

    /// Adds the fragment that finds the weights of a part of the experts, or of all.
    pub(crate) fn add_to(members: Option<Self>, source: Source) -> Source {
        source.with(match members {
            Some(_) => fragment!("members/some.wgsl"),
            None => fragment!("members/all.wgsl"),
        })
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

/// Rows of a tile of `matmul`, and of an entry of the tile map.
pub const TILE_ROWS: u32 = 32;

/// Most row tiles of `slots` slots that `experts` experts share.
pub fn max_tiles(slots: u64, experts: u32) -> u64 {
    // Every expert but those without a slot may leave one tile partly filled.
    slots / u64::from(TILE_ROWS) + u64::from(experts).min(slots)
}

/// Bytes of the map of those tiles, and of as many entries as a kernel is told of.
pub(crate) fn tile_map_bytes([tokens, choices]: [u32; 2], experts: u32, entries: u32) -> u64 {
    let tiles = max_tiles(u64::from(tokens) * u64::from(choices), experts);
    tiles.max(u64::from(entries)).saturating_mul(16)
}
