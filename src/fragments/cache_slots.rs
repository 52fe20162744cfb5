//! Where in a cache the keys and values of a sequence are, `shaders/cache`, and as what.

use super::CacheFormat;
use crate::kernel::Binding;
use crate::kernel::check::bytes;
use crate::shader::{Fragment, fragment};

/// How slots belong to sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheSlots {
    /// Each sequence has slots of its own, a ring or all of its context.
    Own,
    /// Sequences share pages, and each has a list of its own (arXiv 2309.06180, section 4.2).
    Paged,
}

impl CacheSlots {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Own, Self::Paged];

    /// The fragment.
    pub(crate) fn fragment(self) -> Fragment {
        match self {
            Self::Own => fragment!("cache/own.wgsl"),
            Self::Paged => fragment!("cache/paged.wgsl"),
        }
    }

    /// The pages of each sequence, `[sequences, pages]`.
    pub(crate) fn binding(self) -> Option<Binding> {
        (self == Self::Paged).then_some(Binding::read(9, "page_table"))
    }

    /// Its least bytes, for sequences of so many pages.
    pub(crate) fn size(self, pages: u32) -> Option<(&'static str, u64)> {
        self.binding().map(|binding| (binding.name, bytes([pages])))
    }
}

/// A cache as kernels see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheRows {
    /// Where a token's rows are.
    pub slots: CacheSlots,
    /// How they are stored.
    pub format: CacheFormat,
}

impl CacheRows {
    /// Slots of each sequence's own, in f32.
    pub const PLAIN: Self = Self { slots: CacheSlots::Own, format: CacheFormat::F32 };

    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        let of = |slots| CacheFormat::ALL.map(|format| Self { slots, format });
        CacheSlots::ALL.into_iter().flat_map(of)
    }
}
