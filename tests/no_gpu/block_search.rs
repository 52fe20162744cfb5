//! The search of the example `block_search`, with step times from counts or made up.

use std::collections::HashSet;

#[path = "../../examples/block_search/counts.rs"]
mod counts;
#[path = "../../examples/block_search/evolution.rs"]
mod evolution;
#[path = "../../examples/block_search/options.rs"]
mod options;
#[path = "../../examples/block_search/oracle.rs"]
mod oracle;
#[path = "../../examples/block_search/pareto.rs"]
mod pareto;
#[path = "../../examples/block_search/published.rs"]
mod published;
#[path = "../../examples/block_search/shape.rs"]
mod shape;
#[path = "../../examples/block_search/space.rs"]
mod space;
#[path = "../../examples/block_search/svg.rs"]
mod svg;
#[path = "../../examples/block_search/verdict.rs"]
mod verdict;

// What the files of the example find beside them there.
use crate::support::random;

mod blocks;
mod command_line;
mod picture;
mod searches;
mod verdicts;

use oracle::{Candidate, Step};
use published::GLAM;
use shape::Size;

/// A candidate of a proxy.
fn candidate(ms: f64, proxy: u64) -> Candidate {
    let size = Size { total: proxy, activated: proxy };
    Candidate { block: GLAM, step: Step { ms, bytes: 0, ops: 0 }, size }
}

/// Blocks that all differ.
fn different_blocks() -> impl Iterator<Item = space::Block> {
    let mut random = random::Random::new(5);
    let (space, mut seen) = (options::Options::default().space, HashSet::new());
    std::iter::repeat_with(move || space.draw(&mut random)).filter(move |block| seen.insert(*block))
}
