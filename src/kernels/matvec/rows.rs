//! Which rows a product computes, and with whose weights.

use crate::Result;
use crate::fragments::Members;
use crate::kernel::check::bytes;
use crate::kernel::{Binding, Kernel, Span};
use crate::kernels::linear::LinearParams;
use crate::kernels::tile_rows::{RowBlocks, TileRows};
use crate::shader::{Source, fragment};

use super::Matvec;

/// Which rows a [`Matvec`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VecRows {
    /// Those of tiles, one by one or in blocks.
    Tiles(TileRows),
    /// The last row of each sequence of the call, written one after the other.
    Last,
    /// Every (token, choice), with the weights of the chosen expert.
    Selected,
    /// Those of them whose expert is one of a part.
    SelectedOf(Members),
}

impl VecRows {
    /// Every row of the call.
    pub const DENSE: Self = Self::Tiles(TileRows::Dense);

    /// The rows at hand of a call.
    pub(super) fn span(self, spans: &[Span]) -> Span {
        match self {
            Self::Last => Span::of_rows(spans.len() as u32),
            Self::Tiles(_) | Self::Selected | Self::SelectedOf(_) => Span::of_rows(Span::total_rows(spans)),
        }
    }

    /// Whether there is a row for each (token, choice).
    pub(super) fn is_per_choice(self) -> bool {
        !matches!(self, Self::DENSE | Self::Last)
    }

    /// The experts, where they are not all, of rows that chose them.
    fn members(self) -> Option<Members> {
        match self {
            Self::SelectedOf(members) => Some(members),
            Self::Tiles(_) | Self::Last | Self::Selected => None,
        }
    }

    /// The same with all experts, where they are a part.
    pub(super) fn whole(self) -> Option<Self> {
        match self {
            Self::Tiles(tiles) => tiles.whole().map(Self::Tiles),
            Self::SelectedOf(_) => Some(Self::Selected),
            Self::Last | Self::Selected => None,
        }
    }

    /// Whether how many rows there are, or which they read, only the device knows.
    pub(super) fn may_be_fewer(self, span: Span) -> bool {
        match self {
            Self::Tiles(tiles) => tiles.may_be_fewer(),
            Self::Last => false,
            Self::Selected => span.rows > 1,
            Self::SelectedOf(_) => true,
        }
    }

    /// Checks the numbers.
    pub(super) fn check(self, params: &LinearParams) -> Result<()> {
        match self {
            Self::Tiles(tiles) => tiles.check(Matvec::NAME, params),
            Self::Last | Self::Selected => Ok(()),
            Self::SelectedOf(members) => members.check(Matvec::NAME),
        }
    }

    /// Blocks of so many rows that there are workgroups for.
    pub(super) fn launched_blocks(self, params: &LinearParams, span: Span, height: u32) -> u64 {
        match self {
            Self::Tiles(tiles) => {
                // Each tile of a map has as many blocks as fit.
                let tile_rows = tiles.tile_rows(height);
                tiles.blocks(params, span, tile_rows).blocks * u64::from(tile_rows / height)
            }
            Self::Last => span.rows.into(),
            Self::Selected | Self::SelectedOf(_) => u64::from(span.rows) * u64::from(params.choices),
        }
    }

    /// Blocks that are computed; as many as there can be where only the device knows.
    pub(super) fn computed_blocks(self, params: &LinearParams, span: Span, height: u32) -> RowBlocks {
        let rows = match self {
            Self::Tiles(tiles) => return tiles.computed_blocks(params, span, height),
            Self::Last => span.rows.into(),
            Self::Selected => u64::from(span.rows) * u64::from(params.choices),
            Self::SelectedOf(members) => members.most_slots(span.rows, params.choices),
        };
        RowBlocks { rows, distinct_inputs: params.distinct_inputs(rows, span), blocks: rows }
    }

    /// Matrices that so many rows of work multiply with, at most.
    pub(super) fn hit_matrices(self, rows: u64) -> u64 {
        match self {
            Self::Tiles(tiles) => tiles.hit_matrices(rows),
            Self::Last => 1,
            // A token's choices are distinct experts; several tokens may share some.
            Self::Selected | Self::SelectedOf(_) => rows,
        }
    }

    /// Matrices that are bound at least, and rows of the output as a product of two.
    pub(super) fn bound(self, rows: u32, params: &LinearParams) -> (u32, [u32; 2]) {
        match self {
            Self::Tiles(tiles) => (tiles.bound_matrices(), tiles.slots(rows, params.choices)),
            Self::Last => (1, [1, 1]),
            // The experts of a token are distinct, so there are at least as many matrices.
            Self::Selected => (params.choices, [rows, params.choices]),
            Self::SelectedOf(members) => (members.count, [rows, params.choices]),
        }
    }

    /// Rows of input, as a product of two.
    pub(super) fn input_rows(self, rows: u32, params: &LinearParams) -> [u32; 2] {
        match self {
            Self::Tiles(tiles) => tiles.input_rows(rows, params),
            Self::Last | Self::Selected | Self::SelectedOf(_) => [rows, params.inputs_per_token()],
        }
    }

    /// Bytes of what finds the rows.
    pub(super) fn plan_sizes(self, rows: u32, params: &LinearParams) -> Vec<(&'static str, u64)> {
        match self {
            Self::Tiles(tiles) => tiles.plan_sizes(rows, params),
            Self::Last => Vec::new(),
            Self::Selected | Self::SelectedOf(_) => {
                let chosen = ("expert_of_slot", bytes([rows, params.choices]));
                [chosen].into_iter().chain(self.members().map(Members::size)).collect()
            }
        }
    }

    /// Adds its fragments, for blocks of so many rows.
    pub(super) fn add_to(self, source: Source, height: u32) -> Source {
        match self {
            Self::Tiles(tiles) if height == 1 => {
                tiles.add_to(source.with(fragment!("rows/of_tile.wgsl")), height)
            }
            Self::Tiles(tiles) => tiles.add_to(source, height),
            Self::Last => source.with(fragment!("rows/last.wgsl")).with_span(),
            Self::Selected | Self::SelectedOf(_) => {
                Members::add_to(self.members(), source.with(fragment!("rows/selected.wgsl"))).with_span()
            }
        }
    }

    /// Its bindings.
    pub(super) fn bindings(self) -> Vec<Binding> {
        match self {
            Self::Tiles(tiles) => tiles.bindings(),
            Self::Last => vec![Binding::SPAN],
            Self::Selected | Self::SelectedOf(_) => {
                let table = self.members().map(|_| Members::TABLE);
                [Binding::SPAN, Binding::read(9, "expert_of_slot")].into_iter().chain(table).collect()
            }
        }
    }
}
