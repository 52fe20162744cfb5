//! Mixture of experts: which experts a token has, and with which weights.

mod groups;

use std::cmp::Ordering;

use super::auction::auction;
use super::expert_choice::{capacity, choose_tokens};
use super::expert_plan::NONE;
use super::sample::{normal_random, uniform_random};
use super::sinkhorn::column_factors;
use crate::fragments::{FIRST_LATER_DRAW, LARGEST_LOGIT};
use crate::model::config::{Hierarchical, Later, Routing, Score, Topk};
pub use groups::NextGroup;
use groups::rule_out;

/// The experts of each token and what their outputs are multiplied by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Chosen experts, `[n, k]`, best first, [`NONE`] for a choice that is not used; or where experts choose, `[n, E]` in the
    /// order of experts, [`NONE`] for those that did not choose the token.
    pub experts: Vec<u32>,
    /// Weights of their outputs, or of their inputs, in the same shape.
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
    /// The logits of groups, `[n, groups]`, of a hierarchical rule.
    pub group_logits: Option<&'a [f32]>,
    /// Where tokens are routed as in training.
    pub training: Option<Training<'a>>,
}

/// What was chosen elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// `[n, k]`.
    pub experts: &'a [u32],
    /// Who has a part in the weights of these, as [`Router::margins`] says; nothing where the logits at hand say it.
    pub margins: &'a [f64],
}

impl<'a> From<&'a [u32]> for Chosen<'a> {
    fn from(experts: &'a [u32]) -> Self {
        Self { experts, margins: &[] }
    }
}

/// What routing as in training draws from.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// The layer's own: [`Place::seed`](crate::model::slot::Place::seed).
    pub seed: u32,
    /// Of the tokens, `[n]`.
    pub positions: &'a [u32],
}

/// Logits with noise, `[n, E]`: each plus a normal number times the softplus of its spread (arXiv 1701.06538, section 2.1).
pub fn with_noise(logits: &[f32], spreads: &[f32], experts: usize, training: Training<'_>) -> Vec<f32> {
    let noise = |(n, (logit, spread)): (usize, (&f32, &f32))| {
        let (position, expert) = (training.positions[n / experts], (n % experts) as u32);
        let normal = normal_random(training.seed, position, expert);
        (f64::from(*logit) + normal * softplus(*spread)) as f32
    };
    logits.iter().zip(spreads).enumerate().map(noise).collect()
}

/// `ln(1 + exp(x))`.
pub fn softplus(x: f32) -> f64 {
    let x = f64::from(x);
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Router<'_> {
    /// A rule for which nothing is stored.
    pub fn new(routing: Routing, count: usize, top_k: usize) -> Self {
        Self {
            routing,
            count,
            top_k,
            selection_bias: None,
            expert_scale: None,
            group_logits: None,
            training: None,
        }
    }

    /// The experts of each row of `logits` `[n, E]` with their weights: [`Router::choose`] and [`Router::weigh`].
    pub fn route(&self, logits: &[f32]) -> Routes {
        let mut experts = self.choose(logits);
        let mut weights = self.weigh(logits, &experts);
        if let Routing::Topk(Topk { later, .. }) = self.routing {
            self.leave_out(later, &mut experts, &mut weights);
        }
        Routes { experts, weights }
    }

    /// Experts that a token has at most, the last axis of [`Routes`].
    pub fn width(&self) -> usize {
        if matches!(self.routing, Routing::ExpertChoice { .. }) { self.count } else { self.top_k }
    }

    /// The experts of each row of `logits` `[n, E]`: those with the `k` largest keys, best first, `[n, k]`, of equal keys the
    /// lower expert first; or as the rule says.
    pub fn choose(&self, logits: &[f32]) -> Vec<u32> {
        match (self.routing, self.training) {
            (Routing::ExpertChoice { factor }, _) => self.chosen_by_experts(factor, logits),
            (Routing::Hierarchical(rule), _) => self.nested(rule, logits),
            (Routing::Sinkhorn { iterations }, Some(_)) => {
                let keys: Vec<f32> = logits.iter().map(|logit| clamped(*logit)).collect();
                let factors = column_factors(&keys, self.count, iterations);
                let balanced =
                    keys.iter().enumerate().map(|(n, key)| f64::from(*key) + factors[n % self.count]);
                self.largest(&balanced.collect::<Vec<_>>())
            }
            (Routing::Base { epsilon }, Some(_)) => auction(logits, self.count, epsilon, u32::MAX),
            _ => self.largest(&self.keys(logits)),
        }
    }

    /// The `k` largest of each row of keys `[n, E]`.
    fn largest<T: PartialOrd>(&self, keys: &[T]) -> Vec<u32> {
        keys.chunks_exact(self.count).flat_map(|keys| best(keys, self.top_k)).collect()
    }

    /// For each token the experts that take it, `[n, E]`.
    fn chosen_by_experts(&self, factor: f32, logits: &[f32]) -> Vec<u32> {
        let rows = logits.chunks_exact(self.count);
        let scores: Vec<f32> = rows
            .flat_map(|row| scores(Score::Softmax, &without_nan(row)))
            .map(|score| score as f32)
            .collect();
        let tokens = logits.len() / self.count;
        let capacity = capacity(factor, tokens as u32, self.count as u32) as usize;
        let mut experts = vec![NONE; logits.len()];
        for (n, token) in choose_tokens(&scores, self.count, capacity).into_iter().enumerate() {
            let expert = n / capacity;
            experts[token as usize * self.count + expert] = expert as u32;
        }
        experts
    }

    /// The best experts of the best groups, `[n, k]`, groups in the order of their logits.
    fn nested(&self, rule: Hierarchical, logits: &[f32]) -> Vec<u32> {
        let (size, each) = (self.count / rule.groups as usize, self.top_k / rule.top_groups as usize);
        let keys = self.keys(logits);
        let groups = self.group_logits.unwrap_or_default().chunks_exact(rule.groups as usize);
        let of_token = |(keys, groups): (&[f32], &[f32])| {
            let groups: Vec<f32> = without_nan(groups).iter().map(|l| (*l as f32).max(f32::MIN)).collect();
            let experts = |group: u32| {
                let first = group as usize * size;
                best(&keys[first..first + size], each).into_iter().map(move |e| first as u32 + e)
            };
            best(&groups, rule.top_groups as usize).into_iter().flat_map(experts).collect::<Vec<_>>()
        };
        keys.chunks_exact(self.count).zip(groups).flat_map(of_token).collect()
    }

    /// Takes back choices after the first of each token that the rule does not use.
    fn leave_out(&self, later: Later, experts: &mut [u32], weights: &mut [f32]) {
        let (share, sampled) = match later {
            Later::Always => return,
            Later::AtLeast { share } => (share, false),
            Later::Sampled { share } => (share, self.training.is_some()),
        };
        for slot in (0..experts.len()).filter(|slot| !slot.is_multiple_of(self.top_k)) {
            let (token, choice) = (slot / self.top_k, slot % self.top_k);
            let share = match self.training.filter(|_| sampled) {
                Some(Training { seed, positions }) => {
                    let draw = FIRST_LATER_DRAW + choice as u32;
                    share * uniform_random(seed, positions[token], draw) as f32
                }
                None => share,
            };
            if weights[slot] < share * weights[token * self.top_k] {
                (experts[slot], weights[slot]) = (NONE, 0.0);
            }
        }
    }

    /// What experts are chosen by, `[n, E]`: their logits, NaN and minus infinity counting as the least number; or their
    /// scores, with biases where there are any, in f32 as models are trained. What is in no group that can be chosen from
    /// is minus infinity.
    ///
    /// Logits where they will do: softmax and sigmoid keep their order, but round some that differ to the same score.
    pub fn keys(&self, logits: &[f32]) -> Vec<f32> {
        let mut keys = self.keys_of_all(logits);
        if let Routing::Topk(Topk { groups: Some(groups), .. }) = self.routing {
            keys.chunks_exact_mut(self.count).for_each(|keys| rule_out(groups, keys));
        }
        keys
    }

    /// The same whatever groups they are in.
    fn keys_of_all(&self, logits: &[f32]) -> Vec<f32> {
        let mut keys = Vec::with_capacity(logits.len());
        for logits in logits.chunks_exact(self.count) {
            match self.routing {
                Routing::Topk(topk) if topk.chooses_by_score() => {
                    let bias = |e: usize| self.selection_bias.map_or(0.0, |bias| bias[e]);
                    let scores = scores(topk.score, &without_nan(logits));
                    keys.extend(scores.iter().enumerate().map(|(e, score)| *score as f32 + bias(e)));
                }
                _ => {
                    keys.extend(without_nan(logits).iter().map(|logit| (*logit as f32).max(f32::MIN)));
                }
            }
        }
        keys
    }

    /// Weights of `experts` `[n, k]`, whoever chose them, in the order of their choice.
    pub fn weigh(&self, logits: &[f32], experts: &[u32]) -> Vec<f32> {
        self.weigh_chosen(logits, experts.into())
    }

    /// The same of what was chosen elsewhere.
    pub fn weigh_chosen(&self, logits: &[f32], chosen: Chosen<'_>) -> Vec<f32> {
        let Chosen { experts, margins } = chosen;
        let own = if margins.is_empty() { self.margins(logits, experts) } else { Vec::new() };
        let mut margins = margins.iter().chain(&own);
        let mut weights = Vec::with_capacity(experts.len());
        // What a rule leaves unused has its part in the sum that weights are divided by.
        let unused = matches!(self.routing, Routing::Topk(topk) if topk.may_leave_out());
        let all = if unused { self.choose(logits) } else { Vec::new() };
        let rows = logits.chunks_exact(self.count).zip(experts.chunks_exact(self.width()));
        for (token, (logits, experts)) in rows.enumerate() {
            let logits = without_nan(logits);
            let all = all.get(token * self.top_k..(token + 1) * self.top_k).unwrap_or(experts);
            weights.extend(match self.routing {
                Routing::Topk(topk) => self.of_scores(topk, &logits, (experts, all)),
                Routing::SparseMixer { .. } => mixed(&logits, experts, &mut margins),
                Routing::Hierarchical(rule) => self.of_groups(rule, token, &logits, experts),
                Routing::Base { .. } => self.of_scores(Topk::of(Score::Sigmoid), &logits, (experts, all)),
                Routing::Sinkhorn { .. } if self.training.is_some() => {
                    let logits: Vec<f64> = logits.iter().map(|logit| clamped(*logit as f32).into()).collect();
                    self.of_scores(Topk::of(Score::Softmax), &logits, (experts, all))
                }
                _ => self.of_scores(Topk::of(Score::Softmax), &logits, (experts, all)),
            });
        }
        weights
    }

    /// How far within the part of a softmax that weighs the chosen `experts` `[n, k]` of a sparse mixer each expert is, `[n, k, E]`: what
    /// is below 0 has no part. None for other rules, where nothing leaps as a logit moves but the choice itself.
    pub fn margins(&self, logits: &[f32], experts: &[u32]) -> Vec<f64> {
        let Routing::SparseMixer { jitter } = self.routing else { return Vec::new() };
        let mut margins = Vec::with_capacity(experts.len() * self.count);
        for (logits, experts) in logits.chunks_exact(self.count).zip(experts.chunks_exact(self.top_k)) {
            let mut left = without_nan(logits);
            for &expert in experts {
                let most = left.get(expert as usize).copied().unwrap_or(f64::NAN);
                let margin = |l: &f64| match *l > f64::NEG_INFINITY {
                    true => 2.0 * f64::from(jitter) * l.abs().max(most) - (most - l),
                    false => f64::NEG_INFINITY,
                };
                margins.extend(left.iter().map(margin));
                left.iter_mut().skip(expert as usize).take(1).for_each(|taken| *taken = f64::NEG_INFINITY);
            }
        }
        margins
    }

    /// Scores, divided by their sum where the rule says so, times the rule's scale and those of the experts.
    fn of_scores(&self, topk: Topk, logits: &[f64], (experts, all): (&[u32], &[u32])) -> Vec<f32> {
        let scores = scores(topk.score, logits);
        let score = |e: u32| if e == NONE { 0.0 } else { scores[e as usize] };
        let chosen = experts.iter().zip(all).map(|(&e, &own)| if e == NONE { own } else { e });
        let sum: f64 = chosen.map(score).sum();
        let divisor = if topk.renormalize { sum + 1e-20 } else { 1.0 };
        let scale = |e: u32| self.expert_scale.filter(|_| e != NONE).map_or(1.0, |scale| scale[e as usize]);
        let weight = |&e: &u32| score(e) / divisor * f64::from(scale(e)) * f64::from(topk.scale);
        experts.iter().map(|e| weight(e) as f32).collect()
    }

    /// The softmax over the chosen groups times that over the chosen experts of each.
    fn of_groups(&self, rule: Hierarchical, token: usize, logits: &[f64], experts: &[u32]) -> Vec<f32> {
        let groups = rule.groups as usize;
        let of_token = &self.group_logits.unwrap_or_default()[token * groups..][..groups];
        let each = experts.len() / rule.top_groups as usize;
        let group_of = |experts: &[u32]| experts[0] as usize / (self.count / groups);
        let chosen: Vec<f64> =
            experts.chunks_exact(each).map(|experts| without_nan(of_token)[group_of(experts)]).collect();
        let of_group = |(experts, weight): (&[u32], f64)| {
            let logits: Vec<f64> = experts.iter().map(|e| logits[*e as usize]).collect();
            scores(Score::Softmax, &logits).into_iter().map(move |score| (score * weight) as f32)
        };
        experts.chunks_exact(each).zip(scores(Score::Softmax, &chosen)).flat_map(of_group).collect()
    }
}

/// The indices of the largest keys, largest first; a stable sort leaves equals, of which -0 and 0 are two, in the order of
/// their index.
fn best<T: PartialOrd>(keys: &[T], count: usize) -> Vec<u32> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[b].partial_cmp(&keys[a]).unwrap_or(Ordering::Equal));
    order[..count].iter().map(|&index| index as u32).collect()
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

/// The sparse mixer's weights, see [`Routing::SparseMixer`], of the experts that the next `margins` give a part.
fn mixed<'m>(logits: &[f64], experts: &[u32], margins: &mut impl Iterator<Item = &'m f64>) -> Vec<f32> {
    let weight = |expert: &u32| {
        let most = logits[*expert as usize];
        let terms = logits.iter().zip(&mut *margins).filter(|(_, margin)| **margin >= 0.0);
        let sum: f64 = terms.map(|(l, _)| (l - most).max(-80.0).exp()).sum();
        if sum > 0.0 { (1.0 / sum) as f32 } else { 0.0 }
    };
    experts.iter().map(weight).collect()
}

/// What a balance takes a logit for.
fn clamped(logit: f32) -> f32 {
    if logit.is_nan() { -1e6 } else { logit.clamp(-1e6, 1e6) }
}

fn without_nan(logits: &[f32]) -> Vec<f64> {
    let number = |l: f32| if l.is_nan() { f64::NEG_INFINITY } else { f64::from(l.min(LARGEST_LOGIT)) };
    logits.iter().map(|&l| number(l)).collect()
}
