//! `shaders/queue`: the order in which choices are granted.

use crate::kernel::Binding;
use crate::kernel::check::bytes;
use crate::shader::{Source, fragment};

/// The order in which choices are granted: those of an expert keep it, and it gives up the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// All choices of a token, then those of the next.
    TokenMajor,
    /// All first choices, then all second ones.
    ChoiceMajor,
    /// The same with tokens in an order of their own.
    Priority,
}

impl Queue {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::TokenMajor, Self::ChoiceMajor, Self::Priority];

    /// Adds its fragment.
    pub(crate) fn add_to(self, source: Source) -> Source {
        source.with(match self {
            Self::TokenMajor => fragment!("queue/token_major.wgsl"),
            Self::ChoiceMajor => fragment!("queue/choice_major.wgsl"),
            Self::Priority => fragment!("queue/priority.wgsl"),
        })
    }

    /// Its binding.
    pub(crate) fn binding(self) -> Option<Binding> {
        (self == Self::Priority).then_some(Binding::read(8, "token_of_rank"))
    }

    /// Bytes of what is bound, for so many tokens.
    pub(crate) fn size(self, tokens: u32) -> Option<(&'static str, u64)> {
        self.binding().map(|binding| (binding.name, bytes([tokens])))
    }

    /// Bytes that so many slots read of it.
    pub(crate) fn read_bytes(self, slots: u64) -> u64 {
        if self == Self::Priority { slots * 4 } else { 0 }
    }
}

/// Adds the fragment that limits what an expert takes, or does not.
pub(crate) fn add_capacity(is_limited: bool, source: Source) -> Source {
    source.with(match is_limited {
        true => fragment!("capacity/share.wgsl"),
        false => fragment!("capacity/all.wgsl"),
    })
}
