//! `shaders/score_bias`: what is added to the scaled score of a query and a key.

use crate::energy::{OpClass, Work};
use crate::shader::{Source, fragment};

/// What is added to the scaled score of a query and a key, by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoreBias {
    /// Nothing.
    None,
    /// Less the farther they are apart (ALiBi, arXiv 2108.12409, section 3).
    Alibi {
        /// Whether slopes, positions and what they give are rounded to bfloat16.
        bf16: bool,
    },
}

impl ScoreBias {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::None, Self::Alibi { bf16: false }, Self::Alibi { bf16: true }];

    /// Adds its fragment.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::None => source.with(fragment!("score_bias/none.wgsl")),
            Self::Alibi { bf16 } => source.with(fragment!("score_bias/alibi.wgsl")).flag("ALIBI_BF16", bf16),
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
        }
    }
}
