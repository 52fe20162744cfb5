//! Mixture of experts: routing, the plan of who computes what, and combining.

use std::cmp::Ordering;

use crate::model::config::{ExpertGroups, GroupScore, Routing, Score, Topk};

/// The experts of each token and what their outputs are multiplied by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Chosen experts, `[n, k]`, best first.
    pub experts: Vec<u32>,
    /// Weights of their outputs, or of their inputs, `[n, k]`.
    pub weights: Vec<f32>,
}

/// How tokens find experts, with the numbers that are stored for it.
#[derive(Clone, Copy, Debug)]
pub struct Router<'a> {
    /// The rule.
    pub routing: Routing,
    /// Experts, `E`.
    pub count: usize,
    /// Experts per token, `k`.
    pub top_k: usize,
    /// What is added to scores for the choice, `[E]`.
    pub selection_bias: Option<&'a [f32]>,
    /// What weights are multiplied by, `[E]`.
    pub expert_scale: Option<&'a [f32]>,
}

impl Router<'_> {
    /// A rule for which nothing is stored.
    pub fn new(routing: Routing, count: usize, top_k: usize) -> Self {
        Self { routing, count, top_k, selection_bias: None, expert_scale: None }
    }

    /// The experts of each row of `logits` `[n, E]` with their weights: [`Router::choose`] and [`Router::weigh`].
    pub fn route(&self, logits: &[f32]) -> Routes {
        let experts = self.choose(logits);
        let weights = self.weigh(logits, &experts);
        Routes { experts, weights }
    }

    /// The experts with the `k` largest keys of each row of `logits` `[n, E]`, best first, `[n, k]`. Of equal keys the
    /// lower expert comes first.
    pub fn choose(&self, logits: &[f32]) -> Vec<u32> {
        let mut experts = Vec::with_capacity(logits.len() / self.count * self.top_k);
        for keys in self.keys(logits).chunks_exact(self.count) {
            let mut order: Vec<usize> = (0..self.count).collect();
            // A stable sort leaves equals, of which -0 and 0 are two, in the order of their index.
            order.sort_by(|&a, &b| keys[b].partial_cmp(&keys[a]).unwrap_or(Ordering::Equal));
            experts.extend(order[..self.top_k].iter().map(|&e| e as u32));
        }
        experts
    }

    /// What experts are chosen by, `[n, E]`: their logits, NaN and minus infinity counting as the least number; or their
    /// scores, with biases where there are any, in f32 as models are trained. What is in no group that can be chosen from
    /// is minus infinity.
    ///
    /// Logits where they will do: softmax and sigmoid keep their order, but round some that differ to the same score.
    pub fn keys(&self, logits: &[f32]) -> Vec<f32> {
        let mut keys = Vec::with_capacity(logits.len());
        for logits in logits.chunks_exact(self.count) {
            let first = keys.len();
            match self.routing {
                Routing::Topk(topk) if topk.chooses_by_score() => {
                    let bias = |e: usize| self.selection_bias.map_or(0.0, |bias| bias[e]);
                    let scores = scores(topk.score, &without_nan(logits));
                    keys.extend(scores.iter().enumerate().map(|(e, score)| *score as f32 + bias(e)));
                }
                Routing::Topk(_) | Routing::SparseMixer { .. } => {
                    keys.extend(without_nan(logits).iter().map(|logit| (*logit as f32).max(f32::MIN)));
                }
            }
            if let Routing::Topk(Topk { groups: Some(groups), .. }) = self.routing {
                rule_out(groups, &mut keys[first..]);
            }
        }
        keys
    }

    /// Weights of `experts` `[n, k]`, whoever chose them, in the order of their choice.
    pub fn weigh(&self, logits: &[f32], experts: &[u32]) -> Vec<f32> {
        let mut weights = Vec::with_capacity(experts.len());
        for (logits, experts) in logits.chunks_exact(self.count).zip(experts.chunks_exact(self.top_k)) {
            let logits = without_nan(logits);
            match self.routing {
                Routing::Topk(topk) => weights.extend(self.of_scores(topk, &logits, experts)),
                Routing::SparseMixer { jitter } => weights.extend(mixed(jitter, logits, experts)),
            }
        }
        weights
    }

    /// Scores, divided by their sum where the rule says so, times the rule's scale and those of the experts.
    fn of_scores(&self, topk: Topk, logits: &[f64], experts: &[u32]) -> Vec<f32> {
        let scores = scores(topk.score, logits);
        let sum: f64 = experts.iter().map(|&e| scores[e as usize]).sum();
        let divisor = if topk.renormalize { sum + 1e-20 } else { 1.0 };
        let scale = |e: u32| f64::from(self.expert_scale.map_or(1.0, |scale| scale[e as usize]));
        let weight = |&e: &u32| scores[e as usize] / divisor * scale(e) * f64::from(topk.scale);
        experts.iter().map(|e| weight(e) as f32).collect()
    }
}

/// Softmax over all, or a sigmoid of each. What is minus infinity has a score of 0; other terms of a softmax are at least
/// `e^-80` of its largest.
fn scores(score: Score, logits: &[f64]) -> Vec<f64> {
    match score {
        Score::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        Score::Softmax => {
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let is_out = |logit: &f64| *logit == f64::NEG_INFINITY;
            let term = |l: &f64| if is_out(l) { 0.0 } else { (l - largest).max(-80.0).exp() };
            let terms: Vec<f64> = logits.iter().map(term).collect();
            let sum: f64 = terms.iter().sum();
            terms.iter().map(|term| term / f64::max(sum, 1.0)).collect()
        }
    }
}

/// Leaves the keys of the best groups, ties to the lower group.
fn rule_out(groups: ExpertGroups, keys: &mut [f32]) {
    let size = keys.len() / groups.count as usize;
    let worth = |keys: &[f32]| {
        let mut keys = keys.to_vec();
        keys.sort_by(|a, b| b.total_cmp(a));
        match groups.score {
            GroupScore::Best => keys[0],
            GroupScore::TwoBest => keys[0] + keys[1],
        }
    };
    let worths: Vec<f32> = keys.chunks_exact(size).map(worth).collect();
    let mut order: Vec<usize> = (0..worths.len()).collect();
    order.sort_by(|&a, &b| worths[b].partial_cmp(&worths[a]).unwrap_or(Ordering::Equal));
    for &group in &order[groups.limit as usize..] {
        keys[group * size..(group + 1) * size].fill(f32::NEG_INFINITY);
    }
}

/// The sparse mixer's weights: see [`Routing::SparseMixer`].
fn mixed(jitter: f32, mut logits: Vec<f64>, experts: &[u32]) -> Vec<f32> {
    let mut weights = Vec::with_capacity(experts.len());
    for &expert in experts {
        let most = logits[expert as usize];
        let is_near =
            |l: &&f64| **l > f64::NEG_INFINITY && most - **l <= 2.0 * f64::from(jitter) * l.abs().max(most);
        let sum: f64 = logits.iter().filter(is_near).map(|l| (l - most).max(-80.0).exp()).sum();
        weights.push(if sum > 0.0 { 1.0 / sum } else { 0.0 } as f32);
        logits[expert as usize] = f64::NEG_INFINITY;
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
