//! The blocks that no other beats in both step time and proxy.

use super::oracle::Candidate;

/// Those of which none other takes no longer and has no less proxy, fastest first; of equal ones, one.
pub fn front<'a>(candidates: impl IntoIterator<Item = &'a Candidate>) -> Vec<Candidate> {
    let mut sorted: Vec<Candidate> = candidates.into_iter().copied().collect();
    let key = |candidate: &Candidate| (candidate.step.ms, -candidate.proxy());
    sorted.sort_by(|a, b| {
        let ((ms_a, less_a), (ms_b, less_b)) = (key(a), key(b));
        // Names decide between equals, so that the front is the same in whatever order they come.
        let by_name = || a.block.to_string().cmp(&b.block.to_string());
        ms_a.total_cmp(&ms_b).then(less_a.total_cmp(&less_b)).then_with(by_name)
    });
    let mut most = f64::NEG_INFINITY;
    sorted.retain(|candidate| {
        let is_more = candidate.proxy() > most;
        most = most.max(candidate.proxy());
        is_more
    });
    sorted
}
