//! What the kernels of the expert plan agree on: `moe_count`, `moe_scan`, `moe_place`, or `moe_expert_choice`, and the grouped
//! `quantize`, `matmul` and `matvec` that follow the plan. A slot is a (token, choice) pair, or one of as many that each expert has.

use crate::Result;
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Span, params};

/// Most experts: `moe_route` has three numbers for each in the 16 KiB of workgroup memory that every device has, beside what it
/// adds with.
pub const MAX_EXPERTS: u32 = 1024;

params! {
    /// The uniform of `moe_count` and `moe_place`.
    pub struct MoeSlotParams {
        /// Experts, `E`.
        pub experts: u32,
        /// Experts per token, `k`.
        pub choices: u32,
        /// Of [`ExpertShare`], where experts take no more than a share.
        pub share_numerator: u32,
        /// Of it.
        pub share_denominator: u32,
        /// Of it.
        pub share_round: u32,
    }
}

/// Tokens that an expert takes of a pass of `n`: `(numerator n + round) / denominator` rounded down, at least 1 and at most `n`
/// (arXiv 2101.03961, section 2.2; arXiv 2202.09368, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExpertShare {
    /// Times the tokens.
    pub numerator: u32,
    /// Divides them.
    pub denominator: u32,
    /// Added before dividing: 0, or the denominator less 1, which rounds up; where the numerator is 0, any number.
    pub round: u32,
}

/// Most of an expert's share of a token: with it, products of passes of up to four million tokens stay below 2^32.
const MAX_SHARE: u64 = 1000;

impl ExpertShare {
    /// All that chose it.
    pub const ALL: Self = Self { numerator: 1, denominator: 1, round: 0 };

    /// So many tokens, whatever the pass has.
    pub const fn tokens(tokens: u32) -> Self {
        Self { numerator: 0, denominator: 1, round: tokens }
    }

    /// A factor in thousandths of an even share of the `choices` of each token among `experts`, rounded up or down.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where its fraction is too fine to be computed in `u32`.
    pub fn new(thousandths: u32, choices: u32, experts: u32, up: bool) -> Result<Self> {
        let (n, d) = (u64::from(thousandths) * u64::from(choices), 1000 * u64::from(experts).max(1));
        let common = greatest_common_divisor(n, d).max(1);
        let [numerator, denominator] = [n / common, d / common];
        let fits = numerator.saturating_mul(denominator).saturating_add(denominator) <= u64::from(u32::MAX);
        let fraction = format_args!("{numerator}/{denominator}");
        require("moe_scan", "capacity", fits, "a fraction whose terms' product is below 2^32", fraction)?;
        let round = if up { denominator as u32 - 1 } else { 0 };
        Ok(Self { numerator: numerator as u32, denominator: denominator as u32, round })
    }

    /// What an expert takes of so many tokens.
    pub fn of(self, tokens: u32) -> u32 {
        let [n, d] = [self.numerator, self.denominator].map(u64::from);
        let even = (n * u64::from(tokens) + u64::from(self.round)) / d.max(1);
        even.clamp(1, u64::from(tokens.max(1))) as u32
    }

    /// Whether kernels can compute it.
    pub(crate) fn check(self, kernel: &'static str) -> Result<()> {
        let [n, d, round] = [self.numerator, self.denominator, self.round].map(u64::from);
        let fits = d > 0 && (round < d || n == 0) && n * d + d <= u64::from(u32::MAX) && n / d <= MAX_SHARE;
        let found = format_args!("{n}/{d}, {round}");
        require(kernel, "share_denominator", fits, "a fraction whose terms' product is below 2^32", found)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The slots of experts that choose their tokens: each has as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChosenSlots {
    /// Experts, `E`.
    pub experts: u32,
    /// What each takes of a pass.
    pub share: ExpertShare,
}

impl ChosenSlots {
    /// Slots of a pass of so many tokens.
    pub fn of(self, tokens: u32) -> u32 {
        self.experts.saturating_mul(self.share.of(tokens))
    }

    /// Tiles that they fill.
    pub fn tiles(self, tokens: u32) -> u64 {
        self.blocks(tokens, TILE_ROWS)
    }

    /// Blocks of so many rows that they fill.
    pub(super) fn blocks(self, tokens: u32, height: u32) -> u64 {
        u64::from(self.experts) * u64::from(self.share.of(tokens).div_ceil(height))
    }
}

impl MoeSlotParams {
    /// Experts that take all that chose them, `choices` to a token.
    pub const fn new(experts: u32, choices: u32) -> Self {
        Self::within(experts, choices, ExpertShare::ALL)
    }

    /// Experts that take a share.
    pub const fn within(experts: u32, choices: u32, share: ExpertShare) -> Self {
        let ExpertShare { numerator, denominator, round } = share;
        Self {
            experts,
            choices,
            share_numerator: numerator,
            share_denominator: denominator,
            share_round: round,
        }
    }

    pub(crate) fn share(&self) -> ExpertShare {
        let [numerator, denominator, round] =
            [self.share_numerator, self.share_denominator, self.share_round];
        ExpertShare { numerator, denominator, round }
    }

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
    max_blocks(slots, experts, TILE_ROWS)
}

/// Most blocks of `height` rows, each of one expert's, of `slots` slots that `experts` experts share.
pub(super) fn max_blocks(slots: u64, experts: u32, height: u32) -> u64 {
    // Every expert that is hit has a first block for one slot; blocks after that are of `height` more slots of one.
    let hit = u64::from(experts).min(slots);
    (slots - hit) / u64::from(height) + hit
}

/// Bytes of the map of those tiles, and of as many entries as a kernel is told of.
pub(crate) fn tile_map_bytes([tokens, choices]: [u32; 2], experts: u32, entries: u32) -> u64 {
    let tiles = max_tiles(u64::from(tokens) * u64::from(choices), experts);
    tiles.max(u64::from(entries)).saturating_mul(16)
}
