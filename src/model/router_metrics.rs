//! What routers did: how evenly experts were used, and what the losses of training would say of it.
//!
//! From the routes of a traced session ([`Session::router_metrics`](super::Session::router_metrics)), those on record
//! ([`Session::router_metrics_of`](super::Session::router_metrics_of)), or any others.

mod smooth_load;

pub use smooth_load::{Noise, SmoothLoad};

use crate::fragments::LARGEST_LOGIT;
use crate::{Error, Result};

/// The routes of one layer over some tokens.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'a> {
    /// The router's logits, `[n, E]`; empty where experts are looked up.
    pub logits: &'a [f32],
    /// The experts of each token, `[n, k]`, 2^32 - 1 for a choice that is not used; best first, or where experts choose, in
    /// the order of experts.
    pub experts: &'a [u32],
    /// Their weights, `[n, k]`.
    pub weights: &'a [f32],
    /// Whether a choice has a place, `[n, k]`; empty where all have that are used.
    pub kept: &'a [bool],
    /// Experts, `E`.
    pub count: usize,
    /// Choices of a token, `k`.
    pub choices: usize,
    /// Whether experts choose: a token's first choice is then the expert of its largest logit.
    pub by_experts: bool,
    /// Noise that was added to the logits.
    pub noise: Option<Noise<'a>>,
}

impl Routes<'_> {
    /// Of no tokens.
    pub const NONE: Self = Self {
        logits: &[],
        experts: &[],
        weights: &[],
        kept: &[],
        count: 0,
        choices: 0,
        by_experts: false,
        noise: None,
    };

    /// Whether all tables are of the same tokens.
    fn check(&self) -> Result<()> {
        let Self { logits, experts, weights, kept, count, choices, .. } = *self;
        let tokens = experts.len().checked_div(choices).unwrap_or(0);
        let fits = |table: usize, columns: usize| table == 0 || table == tokens * columns;
        let whole = experts.len() == tokens * choices && weights.len() == experts.len();
        match whole && fits(logits.len(), count) && fits(kept.len(), choices) {
            true => Ok(()),
            false => Err(Error::Request(format!(
                "routes of {} choices, {choices} a token, with {} weights, {} logits of {count} experts, and {} places",
                experts.len(),
                weights.len(),
                logits.len(),
                kept.len()
            ))),
        }
    }
}

/// Figures of one layer over some tokens. Losses come without their factors.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterMetrics {
    /// Choices that each expert computes, `[E]`.
    pub tokens_per_expert: Vec<u64>,
    /// Choices that were used and have no place.
    pub dropped: u64,
    /// Tokens by the number of experts that compute them, `[k + 1]`.
    pub experts_per_token: Vec<u64>,
    /// The most tokens of an expert over their mean; 1 is even, 0 where there are none.
    pub max_over_mean: f64,
    /// Square of the coefficient of variation of tokens over experts (arXiv 1701.06538, section 4).
    pub load_cv2: f64,
    /// The same of the sums of weights over experts (importance).
    pub importance_cv2: f64,
    /// Logits that are NaN.
    pub nan_logits: u64,
    /// What the logits say; absent where there are none.
    pub logits: Option<LogitMetrics>,
    /// What the noise says; absent where there is none.
    pub smooth_load: Option<SmoothLoad>,
}

/// Figures of a router's logits, of which NaN counts as minus infinity; infinities are as large as kernels take them for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitMetrics {
    /// `E sum_e f_e P_e`: shares of first choices times mean probabilities, 1 where both are even (arXiv 2101.03961, section
    /// 2.2).
    pub load_balance: f64,
    /// Mean square of the logarithm of the sum of exponentials (arXiv 2202.08906, section 3.2).
    pub z: f64,
    /// Mean entropy of a token's probabilities, in nats.
    pub entropy: f64,
}

impl RouterMetrics {
    /// The figures of some routes.
    ///
    /// # Errors
    /// [`Error::Request`] where the tables are not of as many tokens, or not of whole ones.
    pub fn of(routes: Routes<'_>) -> Result<Self> {
        routes.check()?;
        let Routes { experts, weights, kept, count, choices, .. } = routes;
        let is_used = |slot: usize| (experts[slot] as usize) < count;
        let is_kept = |slot: usize| is_used(slot) && kept.get(slot).copied().unwrap_or(true);
        let slots = 0..experts.len();
        let mut tokens_per_expert = vec![0; count];
        slots.clone().filter(|slot| is_kept(*slot)).for_each(|s| tokens_per_expert[experts[s] as usize] += 1);
        let mut importance = vec![0.0; count];
        let used = || slots.clone().filter(|slot| is_used(*slot));
        used().for_each(|slot| importance[experts[slot] as usize] += f64::from(weights[slot]));
        let mut experts_per_token = vec![0; choices + 1];
        for first in slots.clone().step_by(choices.max(1)) {
            experts_per_token[(first..first + choices).filter(|slot| is_kept(*slot)).count()] += 1;
        }
        let load: Vec<f64> = tokens_per_expert.iter().map(|tokens| *tokens as f64).collect();
        let (mean, most) = (mean(&load), load.iter().copied().fold(0.0, f64::max));
        Ok(Self {
            dropped: used().filter(|slot| !is_kept(*slot)).count() as u64,
            experts_per_token,
            max_over_mean: if mean > 0.0 { most / mean } else { 0.0 },
            load_cv2: square_of_variation(&load),
            importance_cv2: square_of_variation(&importance),
            nan_logits: routes.logits.iter().filter(|logit| logit.is_nan()).count() as u64,
            logits: (!routes.logits.is_empty()).then(|| LogitMetrics::of(routes)),
            smooth_load: routes.noise.map(|noise| SmoothLoad::of(routes.logits, noise, count, choices)),
            tokens_per_expert,
        })
    }
}

impl LogitMetrics {
    fn of(Routes { logits, experts, count, choices, by_experts, .. }: Routes<'_>) -> Self {
        let mut tokens = 0;
        let (mut firsts, mut mass) = (vec![0.0; count], vec![0.0; count]);
        let (mut z, mut entropy) = (0.0, 0.0);
        for (token, logits) in logits.chunks_exact(count).enumerate() {
            // Of a token without any number there is nothing to say.
            if logits.iter().all(|logit| logit.is_nan() || *logit == f32::NEG_INFINITY) {
                continue;
            }
            let bounded =
                |l: &f32| if l.is_nan() { -LARGEST_LOGIT } else { l.clamp(-LARGEST_LOGIT, LARGEST_LOGIT) };
            let logits = logits.iter().map(|logit| f64::from(bounded(logit)));
            let most = logits.clone().fold(f64::MIN, f64::max);
            let sum: f64 = logits.clone().map(|logit| (logit - most).exp()).sum();
            tokens += 1;
            let largest = logits.clone().position(|logit| logit == most);
            z += (most + sum.ln()).powi(2);
            for (mass, logit) in mass.iter_mut().zip(logits) {
                let p = (logit - most).exp() / sum;
                *mass += p;
                entropy -= if p > 0.0 { p * p.ln() } else { 0.0 };
            }
            let chosen = experts.get(token * choices).map(|expert| *expert as usize);
            let first = if by_experts { largest } else { chosen };
            if let Some(first) = first.and_then(|expert| firsts.get_mut(expert)) {
                *first += 1.0;
            }
        }
        let n = f64::from(tokens.max(1));
        let shares = firsts.iter().zip(&mass).map(|(first, mass)| first / n * (mass / n));
        Self { load_balance: count as f64 * shares.sum::<f64>(), z: z / n, entropy: entropy / n }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Variance over the square of the mean; 0 where there is nothing to vary.
fn square_of_variation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    if mean == 0.0 { 0.0 } else { variance / (mean * mean) }
}
