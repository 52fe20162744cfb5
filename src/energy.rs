//! The ledger: what every kernel, token and request cost.

mod work;

pub use work::{Amount, ByteClass, OpClass, Work};
