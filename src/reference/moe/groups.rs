//! Groups of experts, of which a token chooses from the best alone.

use std::cmp::Ordering;

use super::Router;
use crate::model::config::{ExpertGroups, GroupScore, Routing, Topk};

impl Router<'_> {
    /// How much more the last group that a token chooses from is worth than the best of the others, `[n]`; infinitely more where
    /// all experts can be chosen.
    pub fn group_gaps(&self, logits: &[f32]) -> Vec<f32> {
        let gap = |mut worths: Vec<f32>, limit: u32| {
            worths.sort_by(|a, b| b.total_cmp(a));
            match worths.get(limit as usize - 1..) {
                Some([last, next, ..]) => last - next,
                _ => f32::INFINITY,
            }
        };
        match (self.routing, self.group_logits) {
            (Routing::Topk(Topk { groups: Some(groups), .. }), _) => {
                let keys = self.keys_of_all(logits);
                keys.chunks_exact(self.count).map(|keys| gap(worths(groups, keys), groups.limit)).collect()
            }
            (Routing::Hierarchical(rule), Some(logits)) => {
                let rows = logits.chunks_exact(rule.groups as usize);
                rows.map(|row| gap(row.to_vec(), rule.top_groups)).collect()
            }
            _ => vec![f32::INFINITY; logits.len() / self.count],
        }
    }
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

/// Leaves the keys of the best groups, ties to the lower group.
pub(super) fn rule_out(groups: ExpertGroups, keys: &mut [f32]) {
    let (worths, size) = (worths(groups, keys), keys.len() / groups.count as usize);
    let mut order: Vec<usize> = (0..worths.len()).collect();
    order.sort_by(|&a, &b| worths[b].partial_cmp(&worths[a]).unwrap_or(Ordering::Equal));
    for &group in &order[groups.limit as usize..] {
        keys[group * size..(group + 1) * size].fill(f32::NEG_INFINITY);
    }
}
