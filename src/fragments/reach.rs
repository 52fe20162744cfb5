//! `shaders/reach`: how far back a query sees.

use crate::kernel::{Binding, Span};
use crate::shader::{Fragment, fragment};

/// How far back a query sees. How many tokens a window or a chunk has is a number beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The last tokens, its own included; all where the number is 0.
    Window,
    /// Those of its own chunk, which begins at a multiple of the number.
    Chunk,
    /// All keys of the call, which begins a sequence: those after its own, too.
    Both,
    /// All keys of an encoder, whose number the device knows.
    Encoder,
}

impl Reach {
    /// Those that see no key after their own.
    pub const CAUSAL: [Self; 2] = [Self::Window, Self::Chunk];

    /// How many keys there are of an encoder's input.
    const LENGTH: Binding = Binding::read(10, "encoder_length");

    /// The binding that it needs.
    pub(crate) fn binding(self) -> Option<Binding> {
        (self == Self::Encoder).then_some(Self::LENGTH)
    }

    /// First key that a query at `position` sees.
    pub fn first_visible(self, position: u32, reach: u32) -> u32 {
        match self {
            Self::Window if reach == 0 => 0,
            Self::Window => (position + 1).saturating_sub(reach),
            Self::Chunk => position - position % reach,
            Self::Both | Self::Encoder => 0,
        }
    }

    /// One past the last key that a call's query at `newest` sees. An encoder's input may be shorter than its `slots`, which only
    /// the device knows: what is counted for it is the most.
    pub fn key_end(self, newest: u32, span: Span, slots: u32) -> u32 {
        match self {
            Self::Window | Self::Chunk => newest + 1,
            Self::Both => span.position + span.rows,
            Self::Encoder => slots,
        }
    }

    /// The fragment.
    pub(crate) fn fragment(self) -> Fragment {
        match self {
            Self::Window => fragment!("reach/window.wgsl"),
            Self::Chunk => fragment!("reach/chunk.wgsl"),
            Self::Both => fragment!("reach/both.wgsl"),
            Self::Encoder => fragment!("reach/encoder.wgsl"),
        }
    }
}
