//! Tolerances and choices.

use std::fmt;

use super::Report;
use super::runner::Run;
use crate::reference::forward::RouteTrace;

/// Part of a tolerance that does not grow with the value.
const ABSOLUTE: f64 = 5e-4;
/// Part that does.
const RELATIVE: f64 = 1e-4;
/// Units in the last place that roundings of a sub-layer may add up to.
const UNITS: f64 = 8.0;
/// Beyond this, a token hangs on roundings so much that a tolerance which allows for them would hide mistakes.
const MOST_SCALE: f64 = 20.0;
/// Distance of two logits below which it is a tie which token is chosen.
const TOKEN_MARGIN: f32 = 3e-3;
/// Distance of what a router chooses by below which it is a tie which expert is chosen.
const EXPERT_MARGIN: f32 = 3e-4;

/// The largest difference seen, and the largest in units of its tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Largest absolute difference.
    pub largest: f64,
    /// Where nothing is rounded, largest ratio of a difference to `5e-4 s + 1e-4 |expected|`; `s` is 1 for logits, or
    /// more where roundings alone move them, and for hidden states the tensor's root mean square where that is above 1. Else the ratio of [`Deviation::rms`] to
    /// what rounding may bring.
    pub of_tolerance: f64,
    /// Sums of the squares of differences, and of what was expected.
    squares: (f64, f64),
}

impl Deviation {
    /// Whether every difference is within tolerance.
    pub fn within(&self) -> bool {
        self.of_tolerance <= 1.0
    }

    /// Root mean square of the differences over that of what was expected.
    pub fn rms(&self) -> f64 {
        (self.squares.0 / self.squares.1.max(f64::MIN_POSITIVE)).sqrt()
    }

    fn add(&mut self, scale: f64, expected: &[f32], found: &[f32], rounding: f64) {
        for (expected, found) in expected.iter().zip(found) {
            let (expected, found) = (f64::from(*expected), f64::from(*found));
            let difference = (expected - found).abs();
            self.largest = self.largest.max(difference);
            self.squares = (self.squares.0 + difference * difference, self.squares.1 + expected * expected);
            if rounding == 0.0 {
                self.hold(difference / (ABSOLUTE * scale + RELATIVE * expected.abs()));
            }
        }
        if rounding > 0.0 {
            self.hold(self.rms() / rounding);
        }
        if expected.len() != found.len() {
            self.of_tolerance = f64::INFINITY;
        }
    }

    fn hold(&mut self, ratio: f64) {
        // A NaN, also that of infinities, compares as neither smaller nor larger; it must not pass for close.
        self.of_tolerance = self.of_tolerance.max(if ratio.is_nan() { f64::INFINITY } else { ratio });
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e}", self.largest)?;
        if self.within() { Ok(()) } else { write!(f, "({:.1}x too far)", self.of_tolerance) }
    }
}

/// What the fixed part of the tolerance of a token's logits is multiplied by, where a unit in the last place of each sub-layer's sums moves them by
/// `moved`. A sub-layer rounds more than its sum: products, exponentials and norms too, each by some units in the last place.
pub(super) fn logit_scale(moved: f64) -> f64 {
    (UNITS * moved / ABSOLUTE).clamp(1.0, MOST_SCALE)
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

impl Agreement {
    /// Counts a choice that is the same, or another at this distance on the reference's own scale.
    fn add(&mut self, distance: Option<f32>, margin: f32) {
        match distance {
            None => self.equal += 1,
            Some(distance) if distance < margin => self.near_ties += 1,
            Some(_) => self.differ += 1,
        }
    }
}

/// Distance of two logits below which it is a tie which of them is larger: `exact`, or where rounding moves logits by
/// more, four times as much as it does, each of them.
fn margin(exact: f32, logits: &[f32], rounding: f64) -> f32 {
    let squares: f64 = logits.iter().map(|logit| f64::from(*logit).powi(2)).sum();
    let rms = (squares / logits.len().max(1) as f64).sqrt();
    exact.max((4.0 * 2f64.sqrt() * rounding * rms) as f32)
}

fn compare_logits(report: &mut Report, expected: &Run, found: &Run) {
    let (logits, rounding) = (&expected.trace.logits, report.rounding);
    if expected.moved.is_empty() || found.trace.logits.len() != logits.len() {
        return report.logits.add(1.0, logits, &found.trace.logits, rounding);
    }
    let vocab = logits.len() / expected.moved.len();
    let rows = logits.chunks(vocab).zip(found.trace.logits.chunks(vocab));
    for (moved, (expected, found)) in expected.moved.iter().zip(rows) {
        report.logits.add(logit_scale(*moved), expected, found, rounding);
        report.moved = report.moved.max(*moved);
    }
}

/// Everything that is expected: logits, tokens, and where there are any, hidden states and routes.
pub(super) fn compare(report: &mut Report, expected: &Run, found: &Run) {
    let rounding = report.rounding;
    compare_logits(report, expected, found);
    compare_hidden(&mut report.hidden, expected, found, rounding);
    if let Some(agreement) = report.routes.as_mut().filter(|_| !expected.trace.routes.is_empty()) {
        compare_routes(agreement, &expected.trace.routes, &found.trace.routes, rounding);
    }
    report.tokens.differ += expected.tokens.len().abs_diff(found.tokens.len()) as u64;
    let vocab = expected.trace.logits.len() / expected.tokens.len().max(1);
    let chosen = expected.tokens.iter().zip(&found.tokens);
    let rows = expected.trace.logits.chunks_exact(vocab.max(1)).enumerate();
    for ((token, chosen), (row, logits)) in chosen.zip(rows) {
        let logit = |token: &u32| logits.get(*token as usize).copied().unwrap_or(f32::INFINITY);
        let distance = (token != chosen).then(|| (logit(token) - logit(chosen)).abs());
        // Each of two logits may be off by its tolerance.
        let exact = TOKEN_MARGIN.max((2.0 * ABSOLUTE * expected.logit_scale(row)) as f32);
        report.tokens.add(distance, margin(exact, logits, rounding));
    }
}

/// Whether a run gave what was expected, choices that are near ties included.
pub(super) fn agree(expected: &Run, found: &Run, rounding: f64) -> bool {
    let mut report = Report { routes: Some(Agreement::default()), rounding, ..Report::default() };
    compare(&mut report, expected, found);
    report.passed() && report.routes.is_some_and(|routes| routes.near_ties == 0)
}

/// The first row of logits that is too far from the expected one.
pub(super) fn first_miss(expected: &Run, found: &Run, vocab: usize, rounding: f64) -> Option<usize> {
    let mut found = found.trace.logits.chunks_exact(vocab);
    expected.trace.logits.chunks_exact(vocab).enumerate().position(|(row, logits)| {
        let mut deviation = Deviation::default();
        deviation.add(expected.logit_scale(row), logits, found.next().unwrap_or(&[]), rounding);
        !deviation.within()
    })
}

impl Run {
    /// [`logit_scale`] of a row of logits.
    fn logit_scale(&self, row: usize) -> f64 {
        self.moved.get(row).map_or(1.0, |moved| logit_scale(*moved))
    }
}

/// The first token for which one of the layers chose other experts.
pub(super) fn parting(expected: &[RouteTrace], found: &[RouteTrace]) -> Option<usize> {
    let layers = expected.iter().zip(found);
    layers
        .filter_map(|(expected, found)| {
            (0..expected.tokens()).find(|&token| expected.distance(found, token).is_some())
        })
        .min()
}

/// The same of what an encoder computed.
pub(super) fn compare_input(report: &mut Report, expected: &Run, found: &Run) {
    let rounding = report.rounding;
    compare_hidden(&mut report.encoder, expected, found, rounding);
    if let Some(agreement) = report.routes.as_mut().filter(|_| !expected.trace.routes.is_empty()) {
        compare_routes(agreement, &expected.trace.routes, &found.trace.routes, rounding);
    }
}

fn compare_hidden(hidden: &mut Vec<Deviation>, expected: &Run, found: &Run, rounding: f64) {
    if expected.trace.hidden.is_empty() {
        return;
    }
    // Not every file has the last block's output beside its norm.
    let last = Some(&expected.trace.last_block).filter(|last| !last.is_empty());
    let layers: Vec<_> = expected.trace.hidden.iter().chain(last).collect();
    hidden.resize(hidden.len().max(layers.len()), Deviation::default());
    let empty = Vec::new();
    let mut found_layers = found.trace.hidden.iter().chain([&found.trace.last_block]);
    for (deviation, expected) in hidden.iter_mut().zip(layers) {
        let squares: f64 = expected.iter().map(|v| f64::from(*v).powi(2)).sum();
        let rms = (squares / expected.len().max(1) as f64).sqrt();
        deviation.add(rms.max(1.0), expected, found_layers.next().unwrap_or(&empty), rounding);
    }
}

fn compare_routes(agreement: &mut Agreement, expected: &[RouteTrace], found: &[RouteTrace], rounding: f64) {
    agreement.differ += expected.len().abs_diff(found.len()) as u64;
    for (expected, found) in expected.iter().zip(found) {
        for token in 0..expected.tokens() {
            let margin = margin(EXPERT_MARGIN, expected.logits_of(token), rounding);
            agreement.add(expected.distance(found, token), margin);
        }
    }
}

impl RouteTrace {
    pub(super) fn tokens(&self) -> usize {
        self.experts.len().checked_div(self.top_k).unwrap_or(0)
    }

    /// Whether another expert, or another group of them, could as well have been chosen for a token.
    pub(super) fn undecided(&self, token: usize, rounding: f64) -> bool {
        let mut keys = self.keys_of(token).to_vec();
        let margin = margin(EXPERT_MARGIN, self.logits_of(token), rounding);
        keys.sort_by(|a, b| b.total_cmp(a));
        // What a sparse mixer weighs an expert by hangs on which of the chosen were before it.
        let first = if self.margins.is_empty() { self.top_k.saturating_sub(1) } else { 0 };
        let next = keys.get(first..keys.len().min(self.top_k + 1)).unwrap_or(&[]);
        let of_groups = self.next_groups.get(token).is_some_and(|next| next.gap < margin);
        let of_weights = self.margins_of(token).iter().any(|within| within.abs() < f64::from(margin));
        of_groups || of_weights || next.windows(2).any(|pair| pair[0] - pair[1] < margin)
    }

    /// How far apart the keys are of the experts that only one of the two chose for a token, or the groups where the other chose
    /// from the next one; `None` where both chose the same, in whatever order.
    fn distance(&self, found: &Self, token: usize) -> Option<f32> {
        let (ours, theirs) = (self.experts_of(token), found.experts_of(token));
        let without = |these: &[u32], others: &[u32]| -> Vec<u32> {
            these.iter().copied().filter(|expert| !others.contains(expert)).collect()
        };
        let (dropped, taken) = (without(ours, theirs), without(theirs, ours));
        if dropped.is_empty() && taken.is_empty() && ours.len() == theirs.len() {
            return self.distance_of_weights(found, token);
        }
        if let Some(next) = self.next_groups.get(token)
            && without(&next.experts, theirs).is_empty()
            && without(theirs, &next.experts).is_empty()
        {
            return Some(next.gap);
        }
        // An expert twice, or none at all, is no tie.
        if dropped.len() != taken.len() {
            return Some(f32::INFINITY);
        }
        let keys = self.keys_of(token);
        let key = |expert: &u32| keys.get(*expert as usize).copied().unwrap_or(f32::INFINITY);
        let exchanged = dropped.iter().chain(&taken).map(key);
        let range = (f32::INFINITY, f32::NEG_INFINITY);
        let (least, most) = exchanged.fold(range, |(least, most), l| (least.min(l), most.max(l)));
        Some(most - least)
    }

    /// Where both chose the same for a token, how far a sparse mixer's logits are from where its weights leap that are another's in
    /// the other: those of two experts that changed places, or who has a part in a softmax.
    fn distance_of_weights(&self, found: &Self, token: usize) -> Option<f32> {
        let (ours, theirs) = (self.margins_of(token), found.margins_of(token));
        let keys = self.keys_of(token);
        let key = |expert: &u32| keys.get(*expert as usize).copied().unwrap_or(f32::INFINITY);
        let places = self.experts_of(token).iter().zip(found.experts_of(token));
        let moved = places.filter(|(a, b)| !ours.is_empty() && a != b).map(|(a, b)| (key(a) - key(b)).abs());
        if let Some(farthest) = moved.reduce(f32::max) {
            return Some(farthest);
        }
        let sides = ours.iter().zip(theirs).filter(|(a, b)| (**a >= 0.0) != (**b >= 0.0));
        sides.map(|(within, _)| within.abs() as f32).reduce(f32::max)
    }

    fn margins_of(&self, token: usize) -> &[f64] {
        let count = self.margins.len() / self.tokens().max(1);
        self.margins.get(token * count..(token + 1) * count).unwrap_or(&[])
    }

    fn experts_of(&self, token: usize) -> &[u32] {
        self.experts.get(token * self.top_k..(token + 1) * self.top_k).unwrap_or(&[])
    }

    fn logits_of(&self, token: usize) -> &[f32] {
        self.row_of(&self.logits, token)
    }

    fn keys_of(&self, token: usize) -> &[f32] {
        self.row_of(&self.keys, token)
    }

    fn row_of<'a>(&self, rows: &'a [f32], token: usize) -> &'a [f32] {
        let count = rows.len() / self.tokens().max(1);
        rows.get(token * count..(token + 1) * count).unwrap_or(&[])
    }
}
