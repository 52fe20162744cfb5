//! Wattle's side of a row.

pub mod experts;
pub mod products;

use std::time::Duration;

use crate::check::{Found, Numbers};
use crate::support::Result;
use crate::support::chain::Chain;

/// A product or a layer, ready to run.
pub struct Ours {
    chain: Chain,
    /// What computes the products.
    pub kernel: &'static str,
    /// What is computed, with weights as kernels see them.
    pub numbers: Numbers,
}

impl Ours {
    /// Unless what it computed is wrong.
    fn checked(chain: Chain, kernel: &'static str, numbers: Numbers, found: &Found) -> Result<Self> {
        let error = numbers.error(&numbers.weights, found)?;
        match error <= numbers.allowed().ours {
            true => Ok(Self { chain, kernel, numbers }),
            false => Err(format!("Wattle's {kernel} is wrong by {error:.1e}").into()),
        }
    }

    /// Everything `times` times.
    pub fn run(&mut self, times: u64) -> Result<Duration> {
        Ok(self.chain.run(times)?.wall)
    }
}
