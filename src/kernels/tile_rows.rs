//! Which rows a product in tiles computes, and where their inputs are: `shaders/tile_rows`, `shaders/rows/*_tile`.

use super::expert_plan::{ChosenSlots, ExpertShare, TILE_ROWS, check_choices, max_blocks, tile_map_bytes};
use super::linear::LinearParams;
use crate::Result;
use crate::fragments::Members;
use crate::kernel::check::{bytes, require};
use crate::kernel::{Binding, Span};
use crate::shader::{Fragment, Source, fragment};

/// Which rows a [`Matmul`](super::matmul::Matmul) computes, or a [`Matvec`](super::matvec::Matvec).
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
    /// Every (token, head), where each head has a matrix of its own: so many heads, which are the `choices`.
    Heads(u32),
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

/// Rows of a call in blocks of one height.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowBlocks {
    /// Rows of work: of the call, or its (token, choice)s.
    pub(super) rows: u64,
    /// Rows of the input that they read, each counted once.
    pub(super) distinct_inputs: u64,
    /// Blocks that they fill, or may fill.
    pub(super) blocks: u64,
}

impl TileRows {
    /// Shapes that the tests know, with any epilogue. Heads have none.
    pub(super) fn variants() -> [Self; 5] {
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
    fn experts(self) -> Option<u32> {
        match self {
            Self::Dense => None,
            Self::Grouped { experts } | Self::GroupedOf(Members { of: experts, .. }) => Some(experts),
            Self::Chosen(Chosen { slots, .. }) => Some(slots.experts),
            Self::Heads(heads) => Some(heads),
        }
    }

    /// The experts that take part, where they are not all.
    fn members(self) -> Option<Members> {
        match self {
            Self::GroupedOf(members) => Some(members),
            Self::Chosen(Chosen { members, .. }) => members,
            Self::Dense | Self::Grouped { .. } | Self::Heads(_) => None,
        }
    }

    /// The same with all experts, where they are a part.
    pub(super) fn whole(self) -> Option<Self> {
        match self {
            Self::GroupedOf(members) => Some(Self::Grouped { experts: members.of }),
            Self::Chosen(chosen @ Chosen { members: Some(_), .. }) => {
                Some(Self::Chosen(Chosen { members: None, ..chosen }))
            }
            Self::Dense | Self::Grouped { .. } | Self::Chosen(_) | Self::Heads(_) => None,
        }
    }

    /// Whether how many rows there are, or which they read, only the device knows.
    pub(super) fn may_be_fewer(self) -> bool {
        !matches!(self, Self::Dense | Self::Chosen(Chosen { by_token: false, .. }) | Self::Heads(_))
    }

    /// Checks the numbers for a kernel.
    pub(super) fn check(self, kernel: &'static str, params: &LinearParams) -> Result<()> {
        if let Some(experts) = self.experts() {
            check_choices(kernel, experts, params.choices)?;
        }
        if let Self::Heads(heads) = self {
            let expected = format_args!("the {heads} heads");
            require(kernel, "choices", params.choices == heads, expected, params.choices)?;
        }
        self.members().map_or(Ok(()), |members| members.check(kernel))
    }

    /// Blocks of so many rows that may have rows, of all that a call has, whoever's experts they are.
    pub(super) fn blocks(self, params: &LinearParams, span: Span, height: u32) -> RowBlocks {
        let rows = u64::from(span.rows) * u64::from(params.choices);
        let (rows, blocks) = match self {
            Self::Dense => (rows, rows.div_ceil(u64::from(height))),
            Self::Heads(heads) => (rows, u64::from(heads) * u64::from(span.rows.div_ceil(height))),
            Self::Grouped { experts } | Self::GroupedOf(Members { of: experts, .. }) => {
                (rows, max_blocks(rows, experts, height))
            }
            Self::Chosen(Chosen { slots, .. }) => {
                (slots.of(span.rows).into(), slots.blocks(span.rows, height))
            }
        };
        RowBlocks { rows, distinct_inputs: self.distinct_inputs(params, rows, span), blocks }
    }

    /// Those of them that are computed; as many as there can be where only the device knows.
    pub(super) fn computed_blocks(self, params: &LinearParams, span: Span, height: u32) -> RowBlocks {
        let Some(members) = self.members() else { return self.blocks(params, span, height) };
        let (rows, blocks) = match self {
            Self::Chosen(Chosen { slots, .. }) => {
                let slots = ChosenSlots { experts: members.count, ..slots };
                (slots.of(span.rows).into(), slots.blocks(span.rows, height))
            }
            _ => {
                let rows = members.most_slots(span.rows, params.choices);
                (rows, max_blocks(rows, members.count, height))
            }
        };
        RowBlocks { rows, distinct_inputs: self.distinct_inputs(params, rows, span), blocks }
    }

    /// Rows of the input that so many rows of work read, each counted once.
    fn distinct_inputs(self, params: &LinearParams, rows: u64, span: Span) -> u64 {
        match self {
            Self::Chosen(Chosen { by_token: true, .. }) => rows.min(span.rows.into()),
            Self::Chosen(_) => rows,
            _ => params.distinct_inputs(rows, span),
        }
    }

    /// Matrices that so many rows of work multiply with. Which experts are hit only the device knows; this counts as many as
    /// can be.
    pub(super) fn hit_matrices(self, rows: u64) -> u64 {
        match self {
            Self::Dense => 1,
            Self::Grouped { experts } => u64::from(experts).min(rows),
            Self::GroupedOf(members) => u64::from(members.count).min(rows),
            Self::Chosen(_) | Self::Heads(_) => self.bound_matrices().into(),
        }
    }

    /// Matrices that are bound.
    pub(super) fn bound_matrices(self) -> u32 {
        self.members().map(|members| members.count).or(self.experts()).unwrap_or(1)
    }

    /// (token, choice)s, or slots of experts, that there are rows for: as a product of two.
    pub(super) fn slots(self, tokens: u32, choices: u32) -> [u32; 2] {
        match self {
            Self::Chosen(Chosen { slots, .. }) => [slots.of(tokens), 1],
            Self::Dense | Self::Grouped { .. } | Self::GroupedOf(_) | Self::Heads(_) => [tokens, choices],
        }
    }

    /// Rows of input, as a product of two.
    pub(super) fn input_rows(self, tokens: u32, params: &LinearParams) -> [u32; 2] {
        match self {
            Self::Chosen(Chosen { by_token: false, .. }) => self.slots(tokens, params.choices),
            _ => [tokens, params.inputs_per_token()],
        }
    }

    /// Bytes of the plan.
    pub(super) fn plan_sizes(self, tokens: u32, params: &LinearParams) -> Vec<(&'static str, u64)> {
        let slots = self.slots(tokens, params.choices);
        let mut plan = match self {
            Self::Dense | Self::Heads(_) => vec![],
            Self::Grouped { experts } | Self::GroupedOf(Members { of: experts, .. }) => {
                let map = tile_map_bytes(slots, experts, params.max_tiles);
                vec![("tile_map", map), ("slot_of_place", bytes(slots))]
            }
            Self::Chosen(chosen) => {
                let tiles = chosen.slots.blocks(tokens, TILE_ROWS).max(params.max_tiles.into());
                let token = chosen.by_token.then(|| ("token_of_slot", bytes(slots)));
                [("tile_map", tiles.saturating_mul(16))].into_iter().chain(token).collect()
            }
        };
        plan.extend(self.members().map(Members::size));
        plan
    }

    /// Bindings of the plan.
    pub(super) fn bindings(self) -> Vec<Binding> {
        let map = Binding::read(9, "tile_map");
        let mut plan = match self {
            Self::Dense | Self::Heads(_) => vec![Binding::SPAN],
            Self::Grouped { .. } | Self::GroupedOf(_) => vec![map, Binding::read(10, "slot_of_place")],
            Self::Chosen(Chosen { by_token: true, .. }) => vec![map, Binding::read(10, "token_of_slot")],
            Self::Chosen(_) => vec![map],
        };
        plan.extend(self.members().map(|_| Members::TABLE));
        plan
    }

    /// Rows of a tile: those of a dense product and of heads are as high as a kernel likes, those of experts are in a map.
    pub(super) fn tile_rows(self, of_kernel: u32) -> u32 {
        match self {
            Self::Dense | Self::Heads(_) => of_kernel,
            Self::Grouped { .. } | Self::GroupedOf(_) | Self::Chosen(_) => TILE_ROWS,
        }
    }

    /// Adds its fragments, for a kernel whose tiles are so high where it may choose.
    pub(super) fn add_to(self, source: Source, of_kernel: u32) -> Source {
        let source = source.constant("TILE_ROWS", self.tile_rows(of_kernel));
        match self {
            Self::Dense => source
                .with(fragment!("rows/dense_tile.wgsl"))
                .with(fragment!("tile_rows/in_order.wgsl"))
                .with_span(),
            Self::Heads(_) => source
                .with(fragment!("rows/head_tile.wgsl"))
                .with(fragment!("tile_rows/of_heads.wgsl"))
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
            Self::Dense | Self::Chosen(_) | Self::Heads(_) => fragment!("tile_rows/in_order.wgsl"),
            Self::Grouped { .. } | Self::GroupedOf(_) => fragment!("tile_rows/sorted.wgsl"),
        }
    }
}
