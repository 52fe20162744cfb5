//! What kernels refuse when a step is recorded: numbers that do not fit together, and tensors that are too small.

mod cases;
mod launches;
mod numbers;
mod sizes;

use std::sync::Arc;

use wattle::Error;
use wattle::kernel::AnyLaunch;
use wattle::schedule::{Schedule, Site};

const SITE: Site = Site { sublayer: None, what: "test" };
/// Rows of every pass here.
const ROWS: u32 = 7;

/// Records a launch over tensors of so many bytes.
fn record(
    launch: &Arc<dyn AnyLaunch>,
    rows: u32,
    tensors: impl Iterator<Item = (&'static str, u64)>,
) -> Result<(), Error> {
    let mut schedule = Schedule::new(rows);
    let bound: Vec<_> = tensors.map(|(name, bytes)| (name, schedule.named(name, bytes))).collect();
    schedule.dispatch(SITE, launch.clone(), &bound)
}
