//! What the kernels' checks of their numbers share.

use std::fmt::Display;

use crate::{Error, Result};

/// Bytes of a tensor of 4-byte elements; where they cannot be counted, more than any device has.
pub(crate) fn bytes<const N: usize>(shape: [u32; N]) -> u64 {
    shape.iter().fold(4, |bytes: u64, n| bytes.saturating_mul(u64::from(*n)))
}

/// Refuses an option that does not hold.
pub(crate) fn require(
    kernel: &'static str,
    option: &str,
    holds: bool,
    expected: impl Display,
    found: impl Display,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::shape(kernel, option, expected, found)) }
}

/// Refuses a number outside `1..=most`.
pub(crate) fn at_most(kernel: &'static str, option: &str, most: u32, found: u32) -> Result<()> {
    require(kernel, option, (1..=most).contains(&found), format_args!("1 to {most}"), found)
}

/// Refuses zeros among options that a kernel divides by, or that would leave it nothing to do.
pub(crate) fn positive<const N: usize>(kernel: &'static str, options: [(&str, u32); N]) -> Result<()> {
    options
        .iter()
        .try_for_each(|(option, found)| require(kernel, option, *found > 0, "a positive number", found))
}
