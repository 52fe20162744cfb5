//! Experts that choose their tokens.

use super::expert_plan::MAX_EXPERTS;
use super::expert_plan::{ChosenSlots, ExpertShare, RUN, TILE_ROWS};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{Reduce, add_capacity};
use crate::kernel::check::{at_most, bytes};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Lanes of a workgroup.
const LANES: u32 = 64;
/// Times that they look at the scores of their expert: for two bits each of the least that is taken, to count, and to write.
const LOOKS: u64 = 16 + 2;

params! {
    /// The uniform of `moe_expert_choice`.
    pub struct MoeExpertChoiceParams {
        /// Experts, `E`.
        pub experts: u32,
        /// Entries of the tile map.
        pub max_tiles: u32,
        /// Of [`ExpertShare`]: what an expert takes.
        pub share_numerator: u32,
        /// Of it.
        pub share_denominator: u32,
        /// Of it.
        pub share_round: u32,
    }
}

impl MoeExpertChoiceParams {
    /// Experts with a share each.
    pub fn new(ChosenSlots { experts, share }: ChosenSlots, max_tiles: u32) -> Self {
        let ExpertShare { numerator, denominator, round } = share;
        Self {
            experts,
            max_tiles,
            share_numerator: numerator,
            share_denominator: denominator,
            share_round: round,
        }
    }

    fn chosen(&self) -> ChosenSlots {
        let share = ExpertShare {
            numerator: self.share_numerator,
            denominator: self.share_denominator,
            round: self.share_round,
        };
        ChosenSlots { experts: self.experts, share }
    }
}

/// Each expert takes the `C` tokens with its largest scores, ties to the earlier token (arXiv 2202.09368, section 3.2): scores
/// `[E, rows]`, of which those not above 0 are equal, to the token and the score of each slot, `[E, C]`, in the order of tokens;
/// the slot of each (expert, token), `[E, rows]`, 2^32 - 1 where it was not chosen; and the map of tiles, `[max_tiles]` of
/// (expert, first slot, rows, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeExpertChoice {
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for MoeExpertChoice {
    type Params = MoeExpertChoiceParams;
    const NAME: &'static str = "moe_expert_choice";

    fn source(self) -> Source {
        let source = add_capacity(true, Source::kernel(Self::NAME, fragment!("moe_expert_choice.wgsl")))
            .with_span()
            .constant("WORKGROUP_SIZE", LANES)
            .constant("ROWS_PER_WORKGROUP", RUN as u32)
            .constant("TILE_ROWS", TILE_ROWS);
        self.reduce.add_to(source)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "scores"),
            Binding::write(3, "slot_of_choice"),
            Binding::write(4, "token_of_slot"),
            Binding::write(5, "weight_of_slot"),
            Binding::write(6, "tile_map"),
        ]
    }

    fn variants() -> Vec<Self> {
        Reduce::ALL.map(|reduce| Self { reduce }).to_vec()
    }

    fn check(self, params: &MoeExpertChoiceParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, params.experts)?;
        params.chosen().share.check(Self::NAME)
    }

    fn sizes(self, params: &MoeExpertChoiceParams, rows: u32) -> Vec<(&'static str, u64)> {
        let chosen = params.chosen();
        let (scores, slots) = (bytes([params.experts, rows]), bytes([chosen.of(rows)]));
        let tiles = chosen.tiles(rows).max(params.max_tiles.into());
        vec![
            ("scores", scores),
            ("slot_of_choice", scores),
            ("token_of_slot", slots),
            ("weight_of_slot", slots),
            ("tile_map", tiles.saturating_mul(16)),
        ]
    }

    fn workgroups(self, params: &MoeExpertChoiceParams, span: Span) -> u64 {
        let experts = u64::from(params.experts);
        experts * u64::from(span.rows).div_ceil((experts * RUN).max(1))
    }

    fn work(self, params: &MoeExpertChoiceParams, span: Span) -> Work {
        let (rows, experts) = (u64::from(span.rows), u64::from(params.experts));
        let (scores, slots) = (rows * experts, u64::from(params.chosen().of(span.rows)));
        let parts = self.workgroups(params, span) / experts.max(1);
        let tiles = params.chosen().tiles(span.rows).max(params.max_tiles.into());
        let written = (scores + 2 * slots) * 4 + tiles * 16;
        Work::default()
            .with_bytes(ByteClass::ActIn, scores * 4, (parts * LOOKS * scores + slots) * 4)
            .with_bytes(ByteClass::Index, written, written)
            .with_ops(OpClass::I32Alu, scores, parts * LOOKS * 3 * scores)
    }
}
