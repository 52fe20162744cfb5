//! Searches: what they propose, what they keep, and that evolution finds more.

use std::cell::Cell;

use wattle::model::config::ModelConfig;

use super::evolution::Search;
use super::options::Options;
use super::oracle::{Candidate, Meter, Oracle, Result, Step};
use super::pareto::front;
use super::published::GLAM;
use super::random::Random;
use super::{candidate, different_blocks};

/// Step times made up from a description.
struct Made<F>(F);

impl<F: FnMut(&ModelConfig) -> f64> Meter for Made<F> {
    fn step(&mut self, config: &ModelConfig) -> Result<Step> {
        Ok(Step { ms: self.0(config), bytes: 0, ops: 0 })
    }
}

fn options(line: &str) -> Options {
    Options::parse(line.split_whitespace().map(String::from)).unwrap()
}

#[test]
fn evolution_beats_random_search_on_every_seed() {
    let options = options("--oracle counts");
    let mut oracle = Oracle::new(options.shape, options.roofline);
    let glam = oracle.ask(&GLAM).unwrap();
    assert!(glam.step.bytes > 0 && glam.step.ops > 0, "{glam:?}");
    let search = options.search(glam.step.ms);
    for seed in options.seed..options.seed + options.seeds {
        let evolved = search.evolve(&mut oracle, seed).unwrap();
        let random = search.at_random(&mut oracle, seed).unwrap();
        assert_eq!([evolved.len(), random.len()], [options.evaluations; 2]);
        assert_eq!(
            evolved[..search.population],
            random[..search.population],
            "seed {seed}: other beginnings"
        );
        let best = |found| search.ranked(found).first().map_or(0.0, |best| best.proxy());
        let found = [best(&evolved), best(&random), glam.proxy()];
        assert!(found[0] > found[1] && found[0] > found[2], "seed {seed}: {found:?}");
        assert_eq!(search.evolve(&mut oracle, seed).unwrap(), evolved, "seed {seed}: another time, others");
    }
}

#[test]
fn a_block_is_measured_once() {
    let (shape, asked) = (options("").shape, Cell::new(0));
    let mut oracle = Oracle::new(
        shape,
        Made(|_: &ModelConfig| {
            asked.set(asked.get() + 1);
            f64::from(asked.get())
        }),
    );
    let first = oracle.ask(&GLAM).unwrap();
    assert_eq!(oracle.ask(&GLAM).unwrap(), first);
    assert_eq!(asked.get(), 1);
    assert_eq!(oracle.again(&GLAM).unwrap().ms, 2.0);
    assert_eq!(oracle.ask(&GLAM).unwrap(), first);
    assert_eq!(oracle.known().count(), 1);
}

/// One block alone is within the budget: all are its children as long as it is alive, and then they drift away from it.
#[test]
fn the_best_is_a_parent_until_it_is_the_oldest() {
    const ALIVE: usize = 8;
    let options = options("--population 8 --tournament 400 --evaluations 400");
    let search = options.search(1.0);
    let mut random = Random::new(7);
    let star = (0..ALIVE).map(|_| search.space.draw(&mut random)).last().unwrap();
    let model = options.shape.model(&star);
    let made = Made(|config: &ModelConfig| if *config == model { 1.0 } else { 9.0 });
    let found = search.evolve(&mut Oracle::new(options.shape, made), 7).unwrap();
    assert_eq!(found[ALIVE - 1].block, star);
    let differences = |child: &Candidate| {
        let sublayers = child.block.sublayers.iter().zip(&star.sublayers);
        sublayers.filter(|(new, old)| new != old).count() + usize::from(child.block.width != star.width)
    };
    let mean = |range: std::ops::Range<usize>| {
        found[range.clone()].iter().map(differences).sum::<usize>() as f64 / range.len() as f64
    };
    let [near, far] = [mean(ALIVE..2 * ALIVE), mean(found.len() - ALIVE..found.len())];
    assert!(near < 4.0 && far > 6.0, "children differ in {near} of 9 places, the last in {far}");
}

#[test]
fn beyond_the_budget_faster_blocks_are_parents() {
    let options = options("--evaluations 300");
    let search = options.search(1e-9);
    // Narrower blocks are faster: within a budget that none keeps, evolution goes there.
    let made = |config: &ModelConfig| f64::from(config.hidden_size);
    let mut oracle = Oracle::new(options.shape, Made(made));
    let found = search.evolve(&mut oracle, 1).unwrap();
    assert!(search.ranked(&found).is_empty());
    let narrowest = options.shape.scale.of(512);
    let last = &found[found.len() - search.population..];
    let narrow = last.iter().filter(|child| options.shape.scale.of(child.block.width) == narrowest).count();
    assert!(2 * narrow > last.len(), "{narrow} of {} are as narrow as can be", last.len());
}

#[test]
fn the_best_are_first_within_the_budget() {
    let search = |budget_ms| -> Search { options("").search(budget_ms) };
    let mut blocks = different_blocks();
    let mut of = |ms, proxy| Candidate { block: blocks.next().unwrap(), ..candidate(ms, proxy) };
    let found = [of(1.0, 10), of(2.0, 30), of(3.0, 90), of(2.0, 20)];
    let twice = [found, found].concat();
    for (budget, ranked) in [(0.5, &[][..]), (1.0, &[0]), (2.5, &[1, 3, 0]), (3.0, &[2, 1, 3, 0])] {
        let expected: Vec<_> = ranked.iter().map(|n: &usize| &found[*n]).collect();
        assert_eq!(search(budget).ranked(&twice), expected, "budget {budget}");
    }
}

#[test]
fn the_front_is_what_no_other_beats() {
    let all = [(4.0, 40), (1.0, 10), (2.0, 30), (3.0, 20), (2.0, 25), (2.0, 30), (5.0, 40), (0.5, 1)];
    let all = all.map(|(ms, proxy)| candidate(ms, proxy));
    let found: Vec<_> =
        front(&all).iter().map(|candidate| (candidate.step.ms, candidate.size.total)).collect();
    assert_eq!(found, [(0.5, 1), (1.0, 10), (2.0, 30), (4.0, 40)]);
    assert_eq!(front(&[]), []);
}
