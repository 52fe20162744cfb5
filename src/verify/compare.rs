//! Tolerances and choices.

use std::fmt;

use super::Report;
use crate::reference::forward::{RouteTrace, Trace};

/// Part of a tolerance that does not grow with the value.
const ABSOLUTE: f64 = 5e-4;
/// Part that does.
const RELATIVE: f64 = 1e-4;
/// Lead of the best logit below which a different token is a tie.
pub(super) const TOKEN_MARGIN: f32 = 3e-3;
/// Lead of a chosen expert's probability over the next below which a different expert is a tie.
const EXPERT_MARGIN: f32 = 3e-4;

/// The largest difference seen, and the largest in units of its tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Largest absolute difference.
    pub largest: f64,
    /// Largest ratio of a difference to `5e-4 s + 1e-4 |expected|`; `s` is 1 for logits, and for hidden states the
    /// tensor's root mean square where that is above 1.
    pub of_tolerance: f64,
}

impl Deviation {
    /// Whether every difference is within tolerance.
    pub fn within(&self) -> bool {
        self.of_tolerance <= 1.0
    }

    fn add(&mut self, scale: f64, expected: &[f32], found: &[f32]) {
        if expected.len() != found.len() {
            self.of_tolerance = f64::INFINITY;
        }
        for (expected, found) in expected.iter().zip(found) {
            let (expected, found) = (f64::from(*expected), f64::from(*found));
            let difference = (expected - found).abs();
            // A NaN compares as neither smaller nor larger; it must not pass for close.
            let ratio = match difference.is_nan() {
                true => f64::INFINITY,
                false => difference / (ABSOLUTE * scale + RELATIVE * expected.abs()),
            };
            self.largest = self.largest.max(difference);
            self.of_tolerance = self.of_tolerance.max(ratio);
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e}", self.largest)?;
        if self.within() { Ok(()) } else { write!(f, "({:.1}x too far)", self.of_tolerance) }
    }
}

/// Choices compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Choices that are equal.
    pub equal: u64,
    /// Choices that differ where the reference itself was all but undecided.
    pub near_ties: u64,
    /// Choices that differ.
    pub differ: u64,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { equal: 0, near_ties: 0, differ: 0 } => f.write_str("none"),
            Self { near_ties: 0, differ: 0, .. } => f.write_str("equal"),
            Self { near_ties, differ: 0, .. } => write!(f, "equal but {near_ties} near ties"),
            Self { equal, differ, .. } => write!(f, "{differ} of {} DIFFER", equal + differ),
        }
    }
}

/// Hidden states of every layer, and logits.
pub(super) fn compare_trace(report: &mut Report, expected: &Trace, found: &Trace) {
    compare_logits(&mut report.logits, &expected.logits, &found.logits);
    if expected.hidden.is_empty() {
        return;
    }
    report.hidden.resize(report.hidden.len().max(expected.hidden.len() + 1), Deviation::default());
    let layers = expected.hidden.iter().chain([&expected.last_block]);
    let empty = Vec::new();
    let mut found_layers = found.hidden.iter().chain([&found.last_block]);
    for (deviation, expected) in report.hidden.iter_mut().zip(layers) {
        let squares: f64 = expected.iter().map(|v| f64::from(*v).powi(2)).sum();
        let rms = (squares / expected.len().max(1) as f64).sqrt();
        deviation.add(rms.max(1.0), expected, found_layers.next().unwrap_or(&empty));
    }
}

pub(super) fn compare_logits(deviation: &mut Deviation, expected: &[f32], found: &[f32]) {
    deviation.add(1.0, expected, found);
}

/// Experts as sets by token.
pub(super) fn compare_routes(agreement: &mut Agreement, expected: &Trace, found: &Trace) {
    agreement.differ += expected.routes.len().abs_diff(found.routes.len()) as u64;
    for (expected, found) in expected.routes.iter().zip(&found.routes) {
        for token in 0..expected.tokens() {
            let sorted = |route: &RouteTrace| {
                let mut experts = route.experts_of(token).to_vec();
                experts.sort_unstable();
                experts
            };
            if sorted(expected) == sorted(found) {
                agreement.equal += 1;
            } else if expected.margin(token) < EXPERT_MARGIN {
                agreement.near_ties += 1;
            } else {
                agreement.differ += 1;
            }
        }
    }
}

impl RouteTrace {
    fn tokens(&self) -> usize {
        self.experts.len().checked_div(self.top_k).unwrap_or(0)
    }

    fn experts_of(&self, token: usize) -> &[u32] {
        self.experts.get(token * self.top_k..(token + 1) * self.top_k).unwrap_or(&[])
    }

    /// Lead of the last chosen expert's probability over the best that was not chosen.
    fn margin(&self, token: usize) -> f32 {
        let count = self.logits.len() / self.tokens().max(1);
        let probabilities =
            crate::reference::softmax::softmax(&self.logits[token * count..(token + 1) * count]);
        let chosen = self.experts_of(token);
        let of = |taken: bool| {
            let probabilities = probabilities.iter().enumerate();
            probabilities.filter(move |(e, _)| chosen.contains(&(*e as u32)) == taken).map(|(_, p)| *p)
        };
        of(true).fold(f32::INFINITY, f32::min) - of(false).fold(0.0, f32::max)
    }
}
