//! Which search found more, by blocks that keep the budget twice.

use super::evolution::Search;
use super::oracle::{Candidate, Meter, Oracle, Result};

/// The best that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    pub candidate: Candidate,
    /// Milliseconds of the second measurement.
    pub ms_again: f64,
    /// Blocks with more proxy that kept the budget the first time alone.
    pub refuted: usize,
}

impl Best {
    /// The block with the most proxy that keeps the budget when it is measured again, if there is one. The first of many
    /// measurements by a clock is no judge: a search keeps what chance made fast.
    ///
    /// # Errors
    /// Those of the oracle.
    pub fn of<M: Meter>(
        search: &Search,
        oracle: &mut Oracle<M>,
        found: &[Candidate],
    ) -> Result<Option<Self>> {
        for (refuted, candidate) in search.ranked(found).into_iter().enumerate() {
            let ms_again = oracle.confirm(&candidate.block)?.ms;
            if ms_again <= search.budget_ms {
                return Ok(Some(Self { candidate: *candidate, ms_again, refuted }));
            }
        }
        Ok(None)
    }
}

/// Proxy of evolution's best over that of random search: infinite where only evolution found something, nothing where it
/// did not.
pub fn gain(evolved: Option<&Best>, random: Option<&Best>) -> Option<f64> {
    let evolved = evolved?.candidate.proxy();
    Some(random.map_or(f64::INFINITY, |random| evolved / random.candidate.proxy()))
}
