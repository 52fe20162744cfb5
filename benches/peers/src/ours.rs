//! Wattle's side of a row.

pub mod attention;
pub mod experts;
pub mod products;

use std::time::Duration;

use crate::check::{Found, Numbers};
use crate::support::Result;
use crate::support::chain::Chain;

/// A product, attention or a layer, ready to run.
pub struct Ours {
    chains: Vec<Chain>,
    /// What computes the products, or attends.
    pub kernel: &'static str,
    /// What is computed, with weights as kernels see them.
    pub numbers: Numbers,
}

impl Ours {
    /// Unless what it computed is wrong.
    fn checked(chains: Vec<Chain>, kernel: &'static str, numbers: Numbers, found: &Found) -> Result<Self> {
        let error = numbers.error(&numbers.weights, found)?;
        match error <= numbers.allowed().ours {
            true => Ok(Self { chains, kernel, numbers }),
            false => Err(format!("Wattle's {kernel} is wrong by {error:.1e}").into()),
        }
    }

    /// Everything `times` times.
    pub fn run(&mut self, times: u64) -> Result<Duration> {
        self.chains.iter_mut().map(|chain| Ok(chain.run(times)?.wall)).sum()
    }
}
