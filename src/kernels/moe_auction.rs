//! Balanced routing by auction.

use super::expert_plan::MAX_EXPERTS;
use super::turns;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::add_logits;
use crate::kernel::check::{at_most, bytes, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

/// Lanes of the workgroup.
const LANES: u64 = 256;
/// Experts or bidders that a lane looks at in a turn of a loop.
const IN_A_TURN: u64 = 16;
/// Most increments, each a fifth of the one before: from a fourth of a range to its 2^18th part.
const INCREMENTS: u64 = 8;

params! {
    /// The uniform of `moe_auction`.
    pub struct MoeAuctionParams {
        /// Elements between the logits of two tokens, at least `E`.
        pub logit_stride: u32,
        /// The least increment of a bid.
        pub epsilon: f32,
        /// Rounds of bids, after which the last assignment in which everybody had a place counts. Where there was none, who has
        /// no place gets one of the first expert with room.
        pub max_rounds: u32,
    }
}

/// Each token's expert, at most `ceil(n / E)` tokens to each, so that the sum of logits is the largest within the tokens,
/// rounded up to a multiple of `E`, times `max(epsilon, range / 2^18)`; and the sigmoid of its logit (BASE, arXiv 2103.16716,
/// section 3.1).
///
/// Logits are `[rows, logit_stride]`, of which the first `E` count; what is not finite counts as 1 beyond what is. The expert
/// and its weight are `[rows]`; the bidders' state, `[E ceil(rows / E)]` of four words, is left behind. One workgroup; how many
/// rounds of bids it takes hangs on the logits. The third word of the first bidder is the increment that was reached (f32): the sum
/// is within `E ceil(rows / E)` times it of the largest. Where there are not as many rounds as it would take, that is a greater one
/// than asked for; or 0, where there is no bound, and the assignment is as balanced all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeAuction {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
}

impl MoeAuction {
    /// Rounds for passes of up to so many tokens: as many as keep a lane below so many turns of its loops. On a CPU they are
    /// enough for 256 tokens of up to as many experts, as far as has been seen.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where there are none.
    pub fn max_rounds(self, rows: u32, is_cpu: bool) -> Result<u32> {
        // A GPU is not to be taken for one that hangs, nor a pass for one that takes so long on every prompt.
        let turns = if is_cpu { turns::MOST_ON_CPU } else { (1 << 25) / IN_A_TURN };
        let experts = u64::from(self.experts);
        let bidders = self.bidder_bytes(rows) / 16;
        let each = turns::of_loop(bidders, LANES, 0);
        let sum = turns::of_tree(LANES);
        let bids = turns::of_loop(bidders, LANES, turns::of_loop(experts, IN_A_TURN, 0)) + sum;
        let round = 1 + bids + turns::of_loop(bidders, LANES, turns::of_loop(bidders, IN_A_TURN, 0));
        let range = turns::of_loop(u64::from(rows).saturating_mul(experts), 4 * LANES, 0) + sum;
        let rest = 2 * turns::of_loop(bidders, 1, 0) + 2 * experts;
        let fixed = range + INCREMENTS * (2 + bids + each) + rest + 2 * each;
        let rounds = turns.saturating_sub(fixed) / round;
        let expected =
            "so few (`max_chunk`) that a device makes a round of bids in the turns of loops it has";
        require(Self::NAME, "tokens of a pass", rounds > 0, expected, rows)?;
        Ok(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    /// Bytes of the bidders' state for so many tokens.
    pub fn bidder_bytes(self, rows: u32) -> u64 {
        bytes([rows.div_ceil(self.experts.max(1)), self.experts, 4])
    }
}

impl Kernel for MoeAuction {
    type Params = MoeAuctionParams;
    const NAME: &'static str = "moe_auction";

    fn source(self) -> Source {
        add_logits(Source::kernel(Self::NAME, fragment!("moe_auction.wgsl")))
            .with_span()
            .with(fragment!("common/sigmoid.wgsl"))
            .with(fragment!("reduce/workgroup.wgsl"))
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES as u32)
            .constant("IN_A_TURN", IN_A_TURN as u32)
            .constant("EXPERTS", self.experts)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "logits"),
            Binding::write(3, "bidders"),
            Binding::write(4, "expert_of_slot"),
            Binding::write(5, "weight_of_slot"),
        ]
    }

    fn variants() -> Vec<Self> {
        [1, 4, 8, 64, 512, MAX_EXPERTS].map(|experts| Self { experts }).to_vec()
    }

    fn check(self, params: &MoeAuctionParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        require(Self::NAME, "epsilon", params.epsilon > 0.0, "a positive number", params.epsilon)?;
        let wide = params.logit_stride >= self.experts;
        let expected = format_args!("at least {}", self.experts);
        require(Self::NAME, "logit_stride", wide, expected, params.logit_stride)
    }

    fn sizes(self, params: &MoeAuctionParams, rows: u32) -> Vec<(&'static str, u64)> {
        let each = bytes([rows]);
        vec![
            ("logits", bytes([rows, params.logit_stride])),
            ("bidders", self.bidder_bytes(rows)),
            ("expert_of_slot", each),
            ("weight_of_slot", each),
        ]
    }

    fn workgroups(self, _: &MoeAuctionParams, _: Span) -> u64 {
        1
    }

    /// At least of one round in which everybody bids, at most of all there may be.
    fn work(self, params: &MoeAuctionParams, span: Span) -> Work {
        let rows = u64::from(span.rows);
        let rounds = u64::from(params.max_rounds);
        let (logits, bidders) = (rows * u64::from(self.experts), self.bidder_bytes(span.rows));
        Work::default()
            .with_bytes(ByteClass::ActIn, logits * 4, (rounds + 1) * logits * 4)
            .with_bytes(
                ByteClass::Index,
                2 * bidders + rows * 8,
                rounds * bidders * (2 + bidders / 32) + INCREMENTS * bidders / 2 + rows * 8,
            )
            .with_ops(OpClass::F32Other, logits, rounds * (2 * logits + (bidders / 16).pow(2)))
            .with_ops(OpClass::Sfu, rows, rows)
    }
}
