//! Who computes what: choices sorted by expert, within capacities, and what experts computed, joined.

use std::cmp::Ordering;

use crate::model::config::{Capacity, GrantOrder, Share, thousandths};

/// In place of an expert or of a place: there is none.
pub const NONE: u32 = u32::MAX;

/// Where the choices of all tokens go when they are sorted by expert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Choices each expert takes, `[count]`.
    pub counts: Vec<u32>,
    /// First place of each expert and, last, the number of all places, `[count + 1]`.
    pub offsets: Vec<u32>,
    /// Place of each choice, `[n, k]`, [`NONE`] for one that is dropped: those of an expert are neighbours, in the order in
    /// which they are granted.
    pub slots: Vec<u32>,
    /// Token in each place.
    pub tokens: Vec<u32>,
}

/// Choices in the order in which they are granted, as indices into `[n, k]`. Weights are `[n, k]`.
pub fn queue(order: GrantOrder, weights: &[f32], top_k: usize) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..weights.len() / top_k).collect();
    let by_choice = |tokens: &[usize]| {
        (0..top_k).flat_map(|choice| tokens.iter().map(move |token| token * top_k + choice)).collect()
    };
    match order {
        GrantOrder::TokenMajor => (0..weights.len()).collect(),
        GrantOrder::ChoiceMajor => by_choice(&tokens),
        GrantOrder::Priority => {
            let most = |token: usize| weights[token * top_k..][..top_k].iter().copied().fold(0.0, f32::max);
            // A stable sort: of equals the earlier token comes first.
            tokens.sort_by(|&a, &b| most(b).partial_cmp(&most(a)).unwrap_or(Ordering::Equal));
            by_choice(&tokens)
        }
    }
}

/// How many of those before it in the queue chose the same expert, for each of `experts` `[n, k]`; of [`NONE`] 0.
pub fn queue_positions(experts: &[u32], queue: &[usize], count: usize) -> Vec<u32> {
    let (mut taken, mut positions) = (vec![0; count], vec![0; experts.len()]);
    for &slot in queue.iter().filter(|slot| experts[**slot] != NONE) {
        let taken = &mut taken[experts[slot] as usize];
        positions[slot] = *taken;
        *taken += 1;
    }
    positions
}

/// Sorts `experts` `[n, top_k]` by expert, in the order of a queue, as far as `capacity` allows.
pub fn plan_within(experts: &[u32], queue: &[usize], [count, top_k]: [usize; 2], capacity: u32) -> Plan {
    let positions = queue_positions(experts, queue, count);
    let is_kept = |slot: usize| experts[slot] != NONE && positions[slot] < capacity;
    let mut counts = vec![0; count];
    (0..experts.len()).filter(|slot| is_kept(*slot)).for_each(|slot| counts[experts[slot] as usize] += 1);
    let mut offsets = vec![0];
    for (e, tokens) in counts.iter().enumerate() {
        offsets.push(offsets[e] + tokens);
    }
    let mut slots = vec![NONE; experts.len()];
    let mut tokens = vec![0; offsets[count] as usize];
    for slot in (0..experts.len()).filter(|slot| is_kept(*slot)) {
        slots[slot] = offsets[experts[slot] as usize] + positions[slot];
        tokens[slots[slot] as usize] = (slot / top_k) as u32;
    }
    Plan { counts, offsets, slots, tokens }
}

/// The same in the order of tokens and then of choices, and of any number.
pub fn plan(experts: &[u32], count: usize, top_k: usize) -> Plan {
    let queue: Vec<usize> = (0..experts.len()).collect();
    plan_within(experts, &queue, [count, top_k], u32::MAX)
}

impl Capacity {
    /// Tokens that each of `experts` takes of a pass of `tokens`, each with `choices`.
    pub fn of(self, tokens: u32, choices: u32, experts: u32) -> u32 {
        let thousandths = u64::from(thousandths(self.factor));
        let even = match self.share {
            Share::PerChoice => {
                let slots = u64::from(tokens) * u64::from(choices);
                thousandths.saturating_mul(slots).div_ceil(1000 * u64::from(experts))
            }
            Share::Tokens => self.factor as u64,
            Share::PerToken => thousandths.saturating_mul(tokens.into()) / (1000 * u64::from(experts)),
        };
        u32::try_from(even.max(1)).unwrap_or(u32::MAX)
    }
}

/// `y[t] = sum_j weights[t, j] * outputs[slots[t, j]]`, with `slots` and `weights` `[n, top_k]`, `outputs`
/// `[places, d]` and `y` `[n, d]`. What is [`NONE`] has no part.
pub fn combine(outputs: &[f32], slots: &[u32], weights: &[f32], top_k: usize, d: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(slots.len() / top_k * d);
    for (slots, weights) in slots.chunks_exact(top_k).zip(weights.chunks_exact(top_k)) {
        for i in 0..d {
            let kept = slots.iter().zip(weights).filter(|(slot, _)| **slot != NONE);
            let term = |(&slot, &w): (&u32, &f32)| f64::from(w) * f64::from(outputs[slot as usize * d + i]);
            y.push(kept.map(term).sum::<f64>() as f32);
        }
    }
    y
}
