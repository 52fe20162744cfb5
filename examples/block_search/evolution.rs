//! Regularised evolution (Real et al., arXiv 1802.01548, algorithm 1), and random search beside it.

use std::collections::{HashSet, VecDeque};

use super::oracle::{Candidate, Meter, Oracle, Result};
use super::random::Random;
use super::space::{Space, below};

/// How is searched.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Where.
    pub space: Space,
    /// Blocks that are evaluated; one that comes again counts again.
    pub evaluations: usize,
    /// Blocks that are alive.
    pub population: usize,
    /// Of those, how many are drawn, with repetition, for the best to become a parent.
    pub tournament: usize,
    /// Milliseconds that a step may take.
    pub budget_ms: f64,
}

impl Search {
    /// The first blocks are drawn at random, as many as are alive. Each further one is a mutation of the best of a tournament,
    /// and the oldest dies for it, however good it is. Returns all of them in order.
    ///
    /// # Errors
    /// Those of the oracle.
    pub fn evolve<M: Meter>(&self, oracle: &mut Oracle<M>, seed: u64) -> Result<Vec<Candidate>> {
        let mut random = Random::new(seed);
        let mut found = Vec::with_capacity(self.evaluations);
        let mut alive: VecDeque<Candidate> = VecDeque::with_capacity(self.population + 1);
        while found.len() < self.evaluations {
            let parent =
                (alive.len() == self.population).then(|| self.tournament(&alive, &mut random)).flatten();
            let block = match parent {
                Some(parent) => self.space.mutate(&parent.block, &mut random),
                None => self.space.draw(&mut random),
            };
            let child = oracle.ask(&block)?;
            found.push(child);
            alive.push_back(child);
            if alive.len() > self.population {
                alive.pop_front();
            }
        }
        Ok(found)
    }

    /// As many blocks, all drawn at random; of the same seed, the first are those that evolution begins with.
    ///
    /// # Errors
    /// Those of the oracle.
    pub fn at_random<M: Meter>(&self, oracle: &mut Oracle<M>, seed: u64) -> Result<Vec<Candidate>> {
        let mut random = Random::new(seed);
        (0..self.evaluations).map(|_| oracle.ask(&self.space.draw(&mut random))).collect()
    }

    /// Blocks within the budget, each once, that with the most proxy first.
    pub fn ranked<'a>(&self, found: &'a [Candidate]) -> Vec<&'a Candidate> {
        let mut seen = HashSet::new();
        let within = found.iter().filter(|candidate| candidate.step.ms <= self.budget_ms);
        let mut ranked: Vec<_> = within.filter(|candidate| seen.insert(candidate.block)).collect();
        ranked.sort_by(|a, b| b.proxy().total_cmp(&a.proxy()));
        ranked
    }

    /// The proxy, and beyond the budget so much less that a faster block is better (MnasNet, arXiv 1807.11626, section 3,
    /// whose limit is soft, too): the way from one block to another that takes all the time there is leads over some that
    /// take a little more.
    fn fitness(&self, candidate: &Candidate) -> f64 {
        candidate.proxy() * (self.budget_ms / candidate.step.ms).min(1.0).powi(3)
    }

    fn tournament(&self, alive: &VecDeque<Candidate>, random: &mut Random) -> Option<Candidate> {
        let drawn = (0..self.tournament).map(|_| alive[below(random, alive.len())]);
        drawn.max_by(|a, b| self.fitness(a).total_cmp(&self.fitness(b)))
    }
}
