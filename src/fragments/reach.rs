//! `shaders/reach`: how far back a query sees.

use crate::shader::{Fragment, fragment};

/// How far back a query sees. How many tokens a window or a chunk has is a number beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The last tokens, its own included; all where the number is 0.
    Window,
    /// Those of its own chunk, which begins at a multiple of the number.
    Chunk,
}

impl Reach {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Window, Self::Chunk];

    /// First key that a query at `position` sees.
    pub fn first_visible(self, position: u32, reach: u32) -> u32 {
        match self {
            Self::Window if reach == 0 => 0,
            Self::Window => (position + 1).saturating_sub(reach),
            Self::Chunk => position - position % reach,
        }
    }

    /// The fragment.
    pub(crate) fn fragment(self) -> Fragment {
        match self {
            Self::Window => fragment!("reach/window.wgsl"),
            Self::Chunk => fragment!("reach/chunk.wgsl"),
        }
    }
}
