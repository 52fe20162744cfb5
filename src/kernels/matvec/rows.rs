//! Which rows a product computes, and with whose weights.

use crate::fragments::Members;
use crate::kernel::Binding;
use crate::shader::{Source, fragment};

/// Which rows a [`Matvec`](super::Matvec) computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VecRows {
    /// Every row of the call.
    Dense,
    /// The last row of the call, written to row 0.
    Last,
    /// Every (token, choice), with the weights of the chosen expert.
    Selected,
    /// Those of them whose expert is one of a part.
    SelectedOf(Members),
}

impl VecRows {
    /// Whether there is a row for each (token, choice).
    pub fn is_selected(self) -> bool {
        matches!(self, Self::Selected | Self::SelectedOf(_))
    }

    /// The experts, where they are not all.
    pub(super) fn members(self) -> Option<Members> {
        match self {
            Self::SelectedOf(members) => Some(members),
            Self::Dense | Self::Last | Self::Selected => None,
        }
    }

    /// Adds its fragments.
    pub(super) fn add_to(self, source: Source) -> Source {
        match self {
            Self::Dense => source.with(fragment!("rows/dense.wgsl")),
            Self::Last => source.with(fragment!("rows/last.wgsl")),
            Self::Selected | Self::SelectedOf(_) => {
                Members::add_to(self.members(), source.with(fragment!("rows/selected.wgsl")))
            }
        }
    }

    /// Its bindings.
    pub(super) fn bindings(self) -> impl Iterator<Item = Binding> {
        let chosen = self.is_selected().then_some(Binding::read(9, "expert_of_slot"));
        chosen.into_iter().chain(self.members().map(|_| Members::TABLE))
    }
}
