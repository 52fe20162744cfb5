//! The variants that `attention` is tested in.

use super::{Attention, MAX_HEAD_DIM, MAX_KEY_DIM, MAX_QUERIES, Values};
use crate::energy::Phase;
use crate::fragments::{CacheRows, Reach, ScoreBias};
use crate::kernel::distinct;

/// Widths of heads, beside the two that everything else is tested with: of models, and what divides nothing.
const HEAD_DIMS: [u32; 9] = [1, 8, 12, 16, 80, 96, 128, 256, MAX_HEAD_DIM];

pub(super) fn all() -> Vec<Attention> {
    let mut all = with_everything(10);
    all.extend(with_everything(64));
    let mut caches = CacheRows::all().cycle();
    for (head_dim, cache) in HEAD_DIMS.into_iter().zip(&mut caches) {
        all.extend(
            [Phase::Prefill, Phase::Decode]
                .map(|phase| Attention { cache, ..Attention::new(head_dim, phase) }),
        );
    }
    for (head_dim, values) in [
        (12, Values::Own(7)),
        (16, Values::Own(24)),
        (22, Values::InKeys(16)),
        (MAX_KEY_DIM, Values::InKeys(MAX_HEAD_DIM)),
    ] {
        let of = |phase| Attention { values, ..Attention::new(head_dim, phase) };
        all.extend([Phase::Prefill, Phase::Decode].map(of));
    }
    for (phase, cache) in phases_and_caches() {
        let values = Values::InKeys(16);
        all.push(Attention { values, cache, ..Attention::new(22, phase) });
    }
    // Every height of a tile of a step, where values share lanes and where a lane has several elements of them.
    for heads in (0..=MAX_QUERIES.ilog2()).map(|log| 1 << log) {
        let of = |head_dim| Attention::new(head_dim, Phase::Decode).for_heads(heads, 1);
        all.extend([12, 128, MAX_HEAD_DIM].map(of));
    }
    distinct(all)
}

fn phases_and_caches() -> impl Iterator<Item = (Phase, CacheRows)> {
    [Phase::Prefill, Phase::Decode]
        .into_iter()
        .flat_map(|phase| CacheRows::all().map(move |cache| (phase, cache)))
}

/// All that heads of a width can have.
fn with_everything(head_dim: u32) -> Vec<Attention> {
    let mut all = Vec::new();
    let mut caches = CacheRows::all().cycle();
    for softcap in [false, true] {
        for (reach, cache) in Reach::CAUSAL.into_iter().zip(&mut caches) {
            let plain = |phase| Attention { softcap, reach, cache, ..Attention::new(head_dim, phase) };
            all.extend([Phase::Prefill, Phase::Decode].map(plain));
            all.push(Attention { sinks: true, ..plain(Phase::Prefill) });
        }
        let plain = Attention { softcap, ..Attention::new(head_dim, Phase::Prefill) };
        for phase in [Phase::Prefill, Phase::Decode] {
            for v_is_k in [false, true] {
                all.push(Attention { reach: Reach::Encoder, phase, v_is_k, ..plain });
            }
            all.push(Attention { score_bias: ScoreBias::Relative { distance: 5 }, phase, ..plain });
        }
        let both = Attention { reach: Reach::Both, ..plain };
        all.extend([both, Attention { score_bias: ScoreBias::Relative { distance: 128 }, ..both }]);
    }
    for (phase, cache) in phases_and_caches() {
        all.push(Attention { cache, ..Attention::new(head_dim, phase) });
    }
    // What is added to scores does not know what else a variant is.
    let is_plain = |of: &&Attention| of.has_cache() && of.score_bias == ScoreBias::None;
    let plain: Vec<_> = all.iter().filter(is_plain).copied().collect();
    for score_bias in ScoreBias::ALL.into_iter().filter(|bias| *bias != ScoreBias::None) {
        all.extend(plain.iter().map(|of| Attention { score_bias, ..*of }));
    }
    all
}
