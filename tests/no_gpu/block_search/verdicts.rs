//! Which block is the best, and which search found more, where a clock is not the same twice.

use std::cell::Cell;
use std::collections::HashMap;

use wattle::model::config::ModelConfig;

use super::different_blocks;
use super::options::Options;
use super::oracle::{Candidate, Meter, Oracle, Result, Step};
use super::space::Block;
use super::verdict::{Best, gain};

/// Times of blocks by their models, the same each time.
struct Times<'a> {
    ms: HashMap<String, f64>,
    asked: &'a Cell<usize>,
}

impl Meter for Times<'_> {
    fn step(&mut self, config: &ModelConfig) -> Result<Step> {
        self.asked.set(self.asked.get() + 1);
        Ok(Step { ms: self.ms[&format!("{config:?}")], bytes: 0, ops: 0 })
    }
}

/// An oracle that measures blocks again.
fn oracle<'a>(options: &Options, times: &[(Block, f64)], asked: &'a Cell<usize>) -> Oracle<Times<'a>> {
    let ms = times.iter().map(|(block, ms)| (format!("{:?}", options.shape.model(block)), *ms));
    Oracle::new(options.shape, Times { ms: ms.collect(), asked })
}

#[test]
fn a_block_that_chance_made_fast_wins_nothing() {
    let options = Options::default();
    let search = options.search(2.0);
    let blocks: Vec<Block> = different_blocks().take(4).collect();
    let of = |n: usize, ms, proxy| Candidate { block: blocks[n], ..super::candidate(ms, proxy) };
    // By the first measurements evolution has the most, by the second ones random search has.
    let evolved = [of(0, 1.9, 90), of(1, 1.0, 20), of(0, 1.9, 90)];
    let random = [of(2, 1.5, 40), of(3, 2.5, 99), of(1, 1.0, 20)];
    let asked = Cell::new(0);
    let again = [(blocks[0], 2.1), (blocks[1], 1.1), (blocks[2], 1.4), (blocks[3], 0.1)];
    let mut oracle = oracle(&options, &again, &asked);
    let mut best = |found: &[Candidate]| Best::of(&search, &mut oracle, found).unwrap();
    let [of_evolution, of_random] = [best(&evolved), best(&random)];
    assert_eq!(of_evolution, Some(Best { candidate: evolved[1], ms_again: 1.1, refuted: 1 }));
    assert_eq!(of_random, Some(Best { candidate: random[0], ms_again: 1.4, refuted: 0 }));
    assert_eq!(gain(of_evolution.as_ref(), of_random.as_ref()), Some(0.5));
    assert_eq!(gain(of_evolution.as_ref(), None), Some(f64::INFINITY));
    assert_eq!(gain(None, of_random.as_ref()), None);
    assert_eq!(best(&evolved[..1]), None);
    // The second time of a block is that of all searches.
    assert_eq!(asked.get(), 3);
}
