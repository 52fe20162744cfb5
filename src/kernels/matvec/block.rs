//! Blocks of rows, and how they meet weights: `shaders/block`, `shaders/step`, `shaders/share`.

use super::Matvec;
use crate::fragments::Reduce;
use crate::shader::{Source, fragment};

/// How lanes get at the inputs of a block of rows.
#[derive(Clone, Copy)]
enum Share {
    /// Each reads all of them.
    None,
    /// Each reads some, and subgroups hand them round: where all lanes of a subgroup want the same.
    Subgroup,
}

impl Matvec {
    fn share(self) -> Share {
        // A workgroup of fewer lanes has not one for each of four rows.
        match (self.reduce, self.tile.team) {
            (Reduce::Subgroup, 1) if self.tile.lanes >= 4 => Share::Subgroup,
            (Reduce::Subgroup | Reduce::Workgroup, _) => Share::None,
        }
    }

    /// Rows of inputs that a lane reads for a block.
    pub(super) fn rows_read(self) -> u32 {
        match (self.share(), self.tile.rows) {
            (_, 1) | (Share::None, _) => self.tile.rows,
            (Share::Subgroup, rows) => rows / 4,
        }
    }

    /// Adds the fragments of a block of rows.
    pub(super) fn add_block(self, source: Source) -> Source {
        let source = match self.tile.rows {
            1 => return source.with(fragment!("block/one.wgsl")),
            4 => source.with(fragment!("block/four.wgsl")),
            _ => source.with(fragment!("block/eight.wgsl")),
        };
        source.with(fragment!("block/rows4.wgsl")).constant("ROWS", self.tile.rows)
    }

    /// Adds the fragments with which a block of rows meets weights as floats.
    pub(super) fn add_floats(self, source: Source) -> Source {
        let source = source.with(fragment!("step/floats.wgsl"));
        let source = match self.tile.rows {
            1 => return source.with(fragment!("block/one_floats.wgsl")),
            4 => source.with(fragment!("block/four_floats.wgsl")),
            _ => source.with(fragment!("block/eight_floats.wgsl")),
        };
        source.with(fragment!("block/rows4_floats.wgsl")).with(match self.share() {
            Share::None => fragment!("share/none_floats.wgsl"),
            Share::Subgroup => fragment!("share/subgroup_floats.wgsl", subgroups),
        })
    }

    /// The same as codes.
    pub(super) fn add_i8(self, source: Source) -> Source {
        let source = self.codec.add_signed_to(source.with(fragment!("step/i8.wgsl")));
        let source = match self.tile.rows {
            1 => return source.with(fragment!("block/one_i8.wgsl")),
            4 => source.with(fragment!("block/four_i8.wgsl")),
            _ => source.with(fragment!("block/eight_i8.wgsl")),
        };
        source.with(fragment!("block/rows4_i8.wgsl")).with(match self.share() {
            Share::None => fragment!("share/none_i8.wgsl"),
            Share::Subgroup => fragment!("share/subgroup_i8.wgsl", subgroups),
        })
    }
}
