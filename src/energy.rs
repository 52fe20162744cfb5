//! The ledger: what every kernel, token and request cost.

#[cfg(feature = "model")]
mod export;
mod ledger;
mod notes;
mod stamps;
mod table;
mod work;

pub use ledger::{KernelTotal, Ledger, Level, PassRecord, Phase, Timing};
pub use notes::Note;
pub(crate) use notes::{NoteSource, note_bytes};
pub use stamps::TimestampQuality;
pub(crate) use stamps::{PassTimer, StampBuffer};
pub use table::KernelTable;
pub use work::{Amount, ByteClass, OpClass, Work};
