//! Which rows a matmul computes, and where their inputs are.

use crate::fragments::Members;
use crate::kernels::expert_plan::{ChosenSlots, ExpertShare};
use crate::shader::{Fragment, Source, fragment};

/// Which rows a [`Matmul`](super::Matmul) computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileRows {
    /// Every row of the call.
    Dense,
    /// Every (token, choice), sorted by expert; at most so many experts.
    Grouped {
        /// Experts, each of which may leave one tile partly empty.
        experts: u32,
    },
    /// Those of them whose expert is one of a part.
    GroupedOf(Members),
    /// Every slot of experts that chose their tokens.
    Chosen(Chosen),
}

/// The slots of experts that chose their tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chosen {
    /// How many there are.
    pub slots: ChosenSlots,
    /// The experts that take part, where they are not all.
    pub members: Option<Members>,
    /// Whether a slot's input is its token's row. Else it is its own.
    pub by_token: bool,
}

impl TileRows {
    /// Shapes that the tests know.
    pub(in crate::kernels) fn variants() -> [Self; 5] {
        let members = Members { count: 3, of: 8 };
        let share = ExpertShare { numerator: 1, denominator: 4, round: 0 };
        let slots = ChosenSlots { experts: 8, share };
        [
            Self::Dense,
            Self::Grouped { experts: 8 },
            Self::GroupedOf(members),
            Self::Chosen(Chosen { slots, members: None, by_token: true }),
            Self::Chosen(Chosen { slots, members: Some(members), by_token: false }),
        ]
    }

    /// Experts, which the tiles are sorted by.
    pub(super) fn experts(self) -> Option<u32> {
        match self {
            Self::Dense => None,
            Self::Grouped { experts } | Self::GroupedOf(Members { of: experts, .. }) => Some(experts),
            Self::Chosen(Chosen { slots, .. }) => Some(slots.experts),
        }
    }

    /// (token, choice)s, or slots of experts, that there are rows for: as a product of two.
    pub(super) fn slots(self, tokens: u32, choices: u32) -> [u32; 2] {
        match self {
            Self::Chosen(Chosen { slots, .. }) => [slots.of(tokens), 1],
            Self::Dense | Self::Grouped { .. } | Self::GroupedOf(_) => [tokens, choices],
        }
    }

    /// The experts that take part, where they are not all.
    pub(super) fn members(self) -> Option<Members> {
        match self {
            Self::GroupedOf(members) => Some(members),
            Self::Chosen(Chosen { members, .. }) => members,
            Self::Dense | Self::Grouped { .. } => None,
        }
    }

    /// Adds its fragments.
    pub(in crate::kernels) fn add_to(self, source: Source) -> Source {
        match self {
            Self::Dense => source
                .with(fragment!("rows/dense_tile.wgsl"))
                .with(fragment!("tile_rows/in_order.wgsl"))
                .with_span(),
            Self::Grouped { .. } | Self::GroupedOf(_) | Self::Chosen(_) => {
                let source = source.with(fragment!("rows/grouped_tile.wgsl")).with(self.order());
                Members::add_to(self.members(), source)
            }
        }
    }

    /// What finds the rows of tiles of experts.
    fn order(self) -> Fragment {
        match self {
            Self::Chosen(Chosen { by_token: true, .. }) => fragment!("tile_rows/chosen.wgsl"),
            Self::Dense | Self::Chosen(_) => fragment!("tile_rows/in_order.wgsl"),
            Self::Grouped { .. } | Self::GroupedOf(_) => fragment!("tile_rows/sorted.wgsl"),
        }
    }
}
