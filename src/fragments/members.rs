//! `shaders/members`: which of the experts a product multiplies with.

use crate::Result;
use crate::kernel::Binding;
use crate::kernel::check::{at_most, bytes};
use crate::shader::{Source, fragment};

/// A part of the experts: those whose matrices one dispatch multiplies with. A table says where each one's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Members {
    /// Experts of the part.
    pub count: u32,
    /// All experts, `E`.
    pub of: u32,
}

impl Members {
    /// The table: `[E]`, which of the bound matrices is an expert's, or 2^32 - 1 where it is none of them.
    pub(crate) const TABLE: Binding = Binding::read(11, "place_of_expert");

    /// Adds the fragment that finds the matrices of some of the experts, or of all.
    pub(crate) fn add_to(members: Option<Self>, source: Source) -> Source {
        source.with(match members {
            Some(_) => fragment!("members/some.wgsl"),
            None => fragment!("members/all.wgsl"),
        })
    }

    /// Refuses a part of nothing, and one of more than there is.
    pub(crate) fn check(self, kernel: &'static str) -> Result<()> {
        at_most(kernel, "members", self.of, self.count)
    }

    /// Bytes of the table.
    pub(crate) fn size(self) -> (&'static str, u64) {
        (Self::TABLE.name, bytes([self.of]))
    }

    /// Most (token, choice)s of so many tokens, whose choices are distinct experts, that go to the part.
    pub(crate) fn most_slots(self, tokens: u32, choices: u32) -> u64 {
        u64::from(tokens) * u64::from(self.count.min(choices))
    }
}
