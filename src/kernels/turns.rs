//! Turns of loops, of which some devices take no more than so many.

/// Most turns of all loops of a lane together on a CPU: Mesa's llvmpipe counts them in each invocation, leaves every loop at
/// 65 535 without a word, and so writes wrong results; this is a little less.
pub(super) const MOST_ON_CPU: u64 = 65_000;

/// Turns of a loop over `count` things in steps of `step`, in each of which there are `inner` more. The turn that finds the
/// end counts, too.
pub(super) fn of_loop(count: u64, step: u64, inner: u64) -> u64 {
    count.div_ceil(step).saturating_mul(inner.saturating_add(1)).saturating_add(1)
}

/// Turns of a sum over the lanes as a tree, `reduce/workgroup.wgsl`.
pub(super) fn of_tree(lanes: u64) -> u64 {
    u64::from(lanes.ilog2()) + 1
}
