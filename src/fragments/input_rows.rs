//! `shaders/linear/input*`: how rows of inputs are read.

use crate::Result;
use crate::kernel::check::require;
use crate::shader::{Source, fragment};

/// How a kernel reads rows of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputRows {
    /// Rows of any width, an element at a time.
    Any,
    /// Rows of whole quads, four elements at a time.
    Quads,
}

impl InputRows {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::Any, Self::Quads];

    /// The better way for a width.
    pub fn of(in_features: u32) -> Self {
        if in_features.is_multiple_of(4) { Self::Quads } else { Self::Any }
    }

    /// Adds its fragment.
    pub(crate) fn add_to(self, source: Source) -> Source {
        match self {
            Self::Any => source.with(fragment!("linear/input.wgsl")),
            Self::Quads => source.with(fragment!("linear/input_quads.wgsl")),
        }
    }

    /// Checks that rows are whole quads where they must be.
    pub(crate) fn check(self, kernel: &'static str, in_features: u32) -> Result<()> {
        let whole = self == Self::Any || in_features.is_multiple_of(4);
        require(kernel, "in_features", whole, "a multiple of 4", in_features)
    }
}
