//! The expert plan, second part: where slots go, and which tile takes which rows.

use super::expert_plan::{
    ExpertShare, MAX_EXPERTS, RUN, TILE_ROWS, check_choices, max_tiles, run_bytes, tile_map_bytes,
};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::add_capacity;
use crate::kernel::check::at_most;
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `moe_scan`.
    pub struct MoeScanParams {
        /// Experts per token, `k`.
        pub choices: u32,
        /// Entries of the tile map.
        pub max_tiles: u32,
        /// Of [`ExpertShare`], where experts take no more than a share.
        pub share_numerator: u32,
        /// Of it.
        pub share_denominator: u32,
        /// Of it.
        pub share_round: u32,
    }
}

impl MoeScanParams {
    /// Experts that take all that chose them.
    pub const fn new(choices: u32, max_tiles: u32) -> Self {
        Self::within(choices, max_tiles, ExpertShare::ALL)
    }

    /// Experts that take a share.
    pub const fn within(choices: u32, max_tiles: u32, share: ExpertShare) -> Self {
        let ExpertShare { numerator, denominator, round } = share;
        Self {
            choices,
            max_tiles,
            share_numerator: numerator,
            share_denominator: denominator,
            share_round: round,
        }
    }
}

/// Exclusive prefix over experts, of what each takes, then over runs; and the tile map of the grouped matmul.
///
/// Counts and offsets are `[runs, E]`; the map is `[max_tiles]` of (expert, first place, rows, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeScan {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
    /// Whether an expert takes no more than a share.
    pub limited: bool,
}

impl Kernel for MoeScan {
    type Params = MoeScanParams;
    const NAME: &'static str = "moe_scan";

    fn source(self) -> Source {
        add_capacity(self.limited, Source::kernel(Self::NAME, fragment!("moe_scan.wgsl")))
            .with_span()
            .with(fragment!("entry/plain.wgsl"))
            .constant("EXPERTS", self.experts)
            .constant("TILE_ROWS", TILE_ROWS)
            .constant("RUN", RUN as u32)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "counts"),
            Binding::write(3, "offsets"),
            Binding::write(4, "tile_map"),
        ]
    }

    fn variants() -> Vec<Self> {
        let of = |experts| [false, true].map(|limited| Self { experts, limited });
        [1, 4, 8, 64, 512, MAX_EXPERTS].map(of).concat()
    }

    fn check(self, params: &MoeScanParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        check_choices(Self::NAME, self.experts, params.choices)?;
        let MoeScanParams { share_numerator, share_denominator, share_round, .. } = *params;
        let share =
            ExpertShare { numerator: share_numerator, denominator: share_denominator, round: share_round };
        if self.limited { share.check(Self::NAME) } else { Ok(()) }
    }

    fn sizes(self, params: &MoeScanParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = [rows, params.choices];
        let table = run_bytes(slots, self.experts);
        // The kernel maps every tile there is, however many entries it is told to clear.
        let map = tile_map_bytes(slots, self.experts, params.max_tiles);
        vec![("counts", table), ("offsets", table), ("tile_map", map)]
    }

    fn workgroups(self, _: &MoeScanParams, _: Span) -> u64 {
        1
    }

    fn work(self, params: &MoeScanParams, span: Span) -> Work {
        let slots = u64::from(span.rows) * u64::from(params.choices);
        let counts = slots.div_ceil(RUN) * u64::from(self.experts);
        let tiles = max_tiles(slots, self.experts);
        let entries = tiles.max(u64::from(params.max_tiles));
        Work::default()
            // Every entry is cleared, and some are written again.
            .with_bytes(ByteClass::Index, counts * 8 + entries * 16, counts * 12 + (entries + tiles) * 16)
            .with_ops(OpClass::I32Alu, 2 * counts, 2 * counts + 16 * u64::from(self.experts))
    }
}
