//! Mixture of experts: routing, the plan of who computes what, and combining.

use std::cmp::Ordering;

use super::softmax::softmax_f64;

/// The experts of each token and what their outputs are multiplied by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Chosen experts, `[n, k]`, best first.
    pub experts: Vec<u32>,
    /// Weights of their outputs, `[n, k]`.
    pub weights: Vec<f32>,
}

/// The `top_k` likeliest experts of each row of `logits` `[n, count]` with their weights: [`choose`] and [`weigh`].
pub fn route(logits: &[f32], count: usize, top_k: usize, renormalize: bool) -> Routes {
    let experts = choose(logits, count, top_k);
    let weights = weigh(logits, count, &experts, top_k, renormalize);
    Routes { experts, weights }
}

/// The experts with the `top_k` largest of each row of `logits` `[n, count]`, best first, `[n, top_k]`.
///
/// Of equal logits the lower expert comes first; NaN counts as minus infinity. The choice is made on the logits:
/// softmax keeps their order, but rounds some that differ to the same probability.
pub fn choose(logits: &[f32], count: usize, top_k: usize) -> Vec<u32> {
    let mut experts = Vec::with_capacity(logits.len() / count * top_k);
    for logits in logits.chunks_exact(count) {
        let logits = without_nan(logits);
        let mut order: Vec<usize> = (0..count).collect();
        // A stable sort leaves equals, of which -0 and 0 are two, in the order of their index.
        order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap_or(Ordering::Equal));
        experts.extend(order[..top_k].iter().map(|&e| e as u32));
    }
    experts
}

/// Weights of the outputs of `experts` `[n, top_k]`, whoever chose them: `p = softmax(logits)` over all experts; with
/// `renormalize`, `p / sum of the chosen p` (GShard, arXiv 2006.16668; Switch, arXiv 2101.03961).
pub fn weigh(logits: &[f32], count: usize, experts: &[u32], top_k: usize, renormalize: bool) -> Vec<f32> {
    let mut weights = Vec::with_capacity(experts.len());
    for (logits, experts) in logits.chunks_exact(count).zip(experts.chunks_exact(top_k)) {
        let p = softmax_f64(without_nan(logits));
        let sum: f64 = experts.iter().map(|&e| p[e as usize]).sum();
        let divisor = if renormalize && sum > 0.0 { sum } else { 1.0 };
        weights.extend(experts.iter().map(|&e| (p[e as usize] / divisor) as f32));
    }
    weights
}

fn without_nan(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|&l| if l.is_nan() { f64::NEG_INFINITY } else { f64::from(l) }).collect()
}

/// Where the choices of all tokens go when they are sorted by expert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Choices each expert got, `[count]`.
    pub counts: Vec<u32>,
    /// First slot of each expert and, last, the number of all slots, `[count + 1]`.
    pub offsets: Vec<u32>,
    /// Slot of each choice, `[n, k]`: those of an expert are neighbours, in the order of tokens and then of choices.
    pub slots: Vec<u32>,
    /// Token in each slot, `[n * k]`.
    pub tokens: Vec<u32>,
}

/// Sorts `experts` `[n, top_k]` by expert, keeping the order of tokens within one.
pub fn plan(experts: &[u32], count: usize, top_k: usize) -> Plan {
    let mut counts = vec![0; count];
    for &expert in experts {
        counts[expert as usize] += 1;
    }
    let mut offsets = vec![0];
    for (e, tokens) in counts.iter().enumerate() {
        offsets.push(offsets[e] + tokens);
    }
    let mut next = offsets.clone();
    let mut tokens = vec![0; experts.len()];
    let mut slots = Vec::with_capacity(experts.len());
    for (choice, &expert) in experts.iter().enumerate() {
        let slot = next[expert as usize];
        next[expert as usize] += 1;
        slots.push(slot);
        tokens[slot as usize] = (choice / top_k) as u32;
    }
    Plan { counts, offsets, slots, tokens }
}

/// `y[t] = sum_j weights[t, j] * outputs[slots[t, j]]`, with `slots` and `weights` `[n, top_k]`, `outputs`
/// `[n * top_k, d]` and `y` `[n, d]`.
pub fn combine(outputs: &[f32], slots: &[u32], weights: &[f32], top_k: usize, d: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(slots.len() / top_k * d);
    for (slots, weights) in slots.chunks_exact(top_k).zip(weights.chunks_exact(top_k)) {
        for i in 0..d {
            let term = |(&slot, &w): (&u32, &f32)| f64::from(w) * f64::from(outputs[slot as usize * d + i]);
            y.push(slots.iter().zip(weights).map(term).sum::<f64>() as f32);
        }
    }
    y
}
