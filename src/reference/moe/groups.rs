//! Groups of experts, of which a token chooses from the best alone.

use std::cmp::Ordering;

use super::{Router, best};
use crate::model::config::{ExpertGroups, GroupScore, Routing, Topk};

/// How close a token was to choosing from another group.
#[derive(Clone, Debug, PartialEq)]
pub struct NextGroup {
    /// How much more the last group that it chooses from is worth than the best of the others.
    pub gap: f32,
    /// What it would choose if they changed places, `[k]`.
    pub experts: Vec<u32>,
}

impl Router<'_> {
    /// For each token the group that it all but chose from, `[n]`; none where every expert can be chosen.
    pub fn next_groups(&self, logits: &[f32]) -> Vec<NextGroup> {
        match self.routing {
            Routing::Topk(Topk { groups: Some(groups), .. }) if groups.limit < groups.count => {
                let keys = self.keys_of_all(logits);
                keys.chunks_exact(self.count).map(|keys| next_group(groups, keys, self.top_k)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn next_group(groups: ExpertGroups, keys: &[f32], top_k: usize) -> NextGroup {
    let (worths, limit) = (worths(groups, keys), groups.limit as usize);
    let mut order = order(&worths);
    let gap = worths[order[limit - 1]] - worths[order[limit]];
    order.swap(limit - 1, limit);
    let mut keys = keys.to_vec();
    leave(&order[..limit], worths.len(), &mut keys);
    NextGroup { gap, experts: best(&keys, top_k) }
}

/// Leaves the keys of the best groups, ties to the lower group.
pub(super) fn rule_out(groups: ExpertGroups, keys: &mut [f32]) {
    let worths = worths(groups, keys);
    leave(&order(&worths)[..groups.limit as usize], worths.len(), keys);
}

/// What each group is worth to a token.
fn worths(groups: ExpertGroups, keys: &[f32]) -> Vec<f32> {
    let worth = |keys: &[f32]| {
        let mut keys = keys.to_vec();
        keys.sort_by(|a, b| b.total_cmp(a));
        match groups.score {
            GroupScore::Best => keys[0],
            GroupScore::TwoBest => keys[0] + keys[1],
        }
    };
    keys.chunks_exact(keys.len() / groups.count as usize).map(worth).collect()
}

/// The groups from the best to the worst.
fn order(worths: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..worths.len()).collect();
    order.sort_by(|&a, &b| worths[b].partial_cmp(&worths[a]).unwrap_or(Ordering::Equal));
    order
}

/// Leaves the keys of these groups.
fn leave(groups: &[usize], count: usize, keys: &mut [f32]) {
    let size = keys.len() / count;
    for (group, keys) in keys.chunks_exact_mut(size).enumerate() {
        if !groups.contains(&group) {
            keys.fill(f32::NEG_INFINITY);
        }
    }
}
