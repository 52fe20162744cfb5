//! Where the tokens of a call are: `shaders/ids`.

use crate::kernel::Binding;
use crate::kernel::check::bytes;
use crate::shader::{Fragment, fragment};

/// How a row finds its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenIds {
    /// Each row has its own: a prompt.
    ByRow,
    /// Each sequence has the one that comes next, in its place among the caches: decode.
    BySequence,
}

impl TokenIds {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::ByRow, Self::BySequence];

    /// The ids, `[rows]` or `[sequences]`.
    pub(crate) const BINDING: Binding = Binding::read(7, "token_ids");

    /// The fragment.
    pub(crate) fn fragment(self) -> Fragment {
        match self {
            Self::ByRow => fragment!("ids/by_row.wgsl"),
            Self::BySequence => fragment!("ids/by_sequence.wgsl"),
        }
    }

    /// Their least bytes, for so many rows.
    pub(crate) fn size(rows: u32) -> (&'static str, u64) {
        (Self::BINDING.name, bytes([rows]))
    }
}
