//! Experts that choose their tokens (arXiv 2202.09368, section 3.2).

use std::cmp::Ordering;

use crate::model::config::thousandths;

/// Tokens that each of `experts` takes of a pass of `tokens`: `min(n, max(1, floor(factor n / E)))`, the factor to the nearest
/// thousandth.
pub fn capacity(factor: f32, tokens: u32, experts: u32) -> u32 {
    let even = u64::from(thousandths(factor)).saturating_mul(tokens.into()) / (1000 * u64::from(experts));
    u32::try_from(even.max(1)).unwrap_or(u32::MAX).min(tokens)
}

/// The tokens of each expert, `[E, capacity]`, in their order: those with its largest `scores` `[n, E]`, ties to the earlier one.
pub fn choose_tokens(scores: &[f32], experts: usize, capacity: usize) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(experts * capacity);
    for e in 0..experts {
        let mut order: Vec<usize> = (0..scores.len() / experts).collect();
        let score = |token: usize| scores[token * experts + e];
        order.sort_by(|&a, &b| score(b).partial_cmp(&score(a)).unwrap_or(Ordering::Equal));
        order.truncate(capacity);
        order.sort_unstable();
        chosen.extend(order.into_iter().map(|token| token as u32));
    }
    chosen
}
