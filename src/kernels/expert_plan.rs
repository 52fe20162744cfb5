//! What the kernels of the expert plan agree on: `moe_count`, `moe_scan`, `moe_place`, and the grouped `matmul` that
//! follows the plan. A slot is a (token, choice) pair.

use crate::Result;
use crate::kernel::check::{at_most, bytes, positive};
use crate::kernel::{Span, params};

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
