//! How many tokens noisy routing would give to each expert on average.

use std::f64::consts::FRAC_1_SQRT_2;

use super::square_of_variation;

/// What noisy routing made of the logits.
#[derive(Clone, Copy, Debug)]
pub struct Noise<'a> {
    /// The logits with noise, `[n, E]`.
    pub logits: &'a [f32],
    /// Standard deviations of the noise, `[n, E]`.
    pub deviations: &'a [f32],
}

/// Load as a smooth function of the logits: the sum over tokens of the probability that an expert is among the best `k` when its
/// own noise is drawn anew (arXiv 1701.06538, appendix A).
#[derive(Clone, Debug, PartialEq)]
pub struct SmoothLoad {
    /// Tokens that each expert may expect, `[E]`.
    pub tokens_per_expert: Vec<f64>,
    /// Square of their coefficient of variation.
    pub cv2: f64,
}

impl SmoothLoad {
    /// Of `k` of `count` experts; logits `[n, E]` are those without noise. NaN counts as minus infinity.
    pub fn of(logits: &[f32], noise: Noise<'_>, count: usize, k: usize) -> Self {
        let mut tokens_per_expert = vec![0.0; count];
        let each = |table| <[f32]>::chunks_exact(table, count.max(1));
        for ((logits, noisy), deviations) in each(logits).zip(each(noise.logits)).zip(each(noise.deviations))
        {
            let mut order: Vec<usize> = (0..count).collect();
            let number = |logit: f32| if logit.is_nan() { f64::NEG_INFINITY } else { f64::from(logit) };
            order.sort_by(|&a, &b| number(noisy[b]).total_cmp(&number(noisy[a])));
            for (rank, &expert) in order.iter().enumerate() {
                // The least of the best of the others, which the expert has to pass.
                let bar = order.get(if rank < k { k } else { k.saturating_sub(1) });
                let probability = bar.map_or(1.0, |&bar| {
                    let ahead = number(logits[expert]) - number(noisy[bar]);
                    normal_below(ahead / f64::from(deviations[expert]))
                });
                tokens_per_expert[expert] += probability;
            }
        }
        Self { cv2: square_of_variation(&tokens_per_expert), tokens_per_expert }
    }
}

/// The probability that a standard normal number is below `x`; 0 where there is no number.
fn normal_below(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { 0.5 * (1.0 + libm::erf(x * FRAC_1_SQRT_2)) }
}
