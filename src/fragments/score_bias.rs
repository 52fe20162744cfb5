//! `shaders/score_bias`: what is added to a scaled score.

use crate::kernel::Binding;
use crate::kernel::check::bytes;
use crate::shader::{Source, fragment};

/// What is added to a scaled score, before its soft-cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoreBias {
    /// Nothing.
    None,
    /// A stored number for each head and distance from the query to its key, up to `distance` either way, `[H, 2 distance + 1]`.
    Relative {
        /// All keys farther away are as those at it.
        distance: u32,
    },
}

impl ScoreBias {
    /// The table, `[H, 2 distance + 1]`.
    const TABLE: Binding = Binding::read(9, "relative_bias");

    /// Adds its fragment.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::None => source.with(fragment!("score_bias/none.wgsl")),
            Self::Relative { distance } => {
                source.with(fragment!("score_bias/relative.wgsl")).constant("BIAS_DISTANCE", distance)
            }
        }
    }

    /// Its binding.
    pub(crate) fn binding(self) -> Option<Binding> {
        (self != Self::None).then_some(Self::TABLE)
    }

    /// The binding's bytes, for so many heads.
    pub(crate) fn size(self, heads: u32) -> Option<(&'static str, u64)> {
        match self {
            Self::None => None,
            Self::Relative { distance } => {
                Some((Self::TABLE.name, bytes([heads, distance.saturating_mul(2).saturating_add(1)])))
            }
        }
    }
}
