//! `shaders/score_bias`: what is added to the scaled score of a query and a key.

use crate::energy::{OpClass, Work};
use crate::kernel::Binding;
use crate::kernel::check::bytes;
use crate::shader::{Source, fragment};

/// What is added to the scaled score of a query and a key, by their positions, before its soft-cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoreBias {
    /// Nothing.
    None,
    /// Less the farther they are apart (ALiBi, arXiv 2108.12409, section 3).
    Alibi {
        /// Whether slopes, positions and what they give are rounded to bfloat16.
        bf16: bool,
    },
    /// A stored number for each head and distance from the query to its key, up to `distance` either way, `[H, 2 distance + 1]`.
    Relative {
        /// All keys farther away are as those at it.
        distance: u32,
    },
}

impl ScoreBias {
    /// Every one that has no table.
    pub const ALL: [Self; 3] = [Self::None, Self::Alibi { bf16: false }, Self::Alibi { bf16: true }];

    /// The table, `[H, 2 distance + 1]`.
    const TABLE: Binding = Binding::read(11, "relative_bias");

    /// Adds its fragment.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::None => source.with(fragment!("score_bias/none.wgsl")),
            Self::Alibi { bf16 } => source.with(fragment!("score_bias/alibi.wgsl")).flag("ALIBI_BF16", bf16),
            Self::Relative { distance } => {
                source.with(fragment!("score_bias/relative.wgsl")).constant("BIAS_DISTANCE", distance)
            }
        }
    }

    /// Its binding.
    pub(crate) fn binding(self) -> Option<Binding> {
        matches!(self, Self::Relative { .. }).then_some(Self::TABLE)
    }

    /// The binding's bytes, for so many heads.
    pub(crate) fn size(self, heads: u32) -> Option<(&'static str, u64)> {
        match self {
            Self::None | Self::Alibi { .. } => None,
            Self::Relative { distance } => {
                Some((Self::TABLE.name, bytes([heads, distance.saturating_mul(2).saturating_add(1)])))
            }
        }
    }

    /// What it computes for so many pairs, and for as many as there are with those that are masked.
    pub(crate) fn work(self, pairs: u64, walked: u64, work: Work) -> Work {
        match self {
            Self::None => work,
            Self::Alibi { .. } => {
                let work = work.with_ops(OpClass::Sfu, pairs, walked);
                work.with_ops(OpClass::F32Other, 3 * pairs, 3 * walked)
            }
            Self::Relative { .. } => work.with_ops(OpClass::F32Other, pairs, walked),
        }
    }
}
