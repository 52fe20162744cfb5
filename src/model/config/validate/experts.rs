//! What experts, and how tokens find them, may be.

use super::{at_most, count, finite, positive, positive_number};
use crate::kernels::expert_plan::MAX_EXPERTS;
use crate::model::config::{
    Capacity, ExpertGroups, Experts, GroupScore, Hierarchical, Later, Routing, Share, Topk,
};
use crate::model::forward::route_rule;
use crate::{Error, Result};

/// Most tokens that a capacity counts: whole numbers up to it have an f32 of their own.
const MOST_TOKENS: f32 = 16_777_216.0;

impl Experts {
    pub(super) fn validate(&self, at: &str, hidden_size: u32) -> Result<()> {
        at_most(&format!("{at}.count"), MAX_EXPERTS, self.count)?;
        let most = if self.routing.has_one_choice() { 1 } else { self.count };
        if self.top_k == 0 || self.top_k > most {
            let expected = format!("1 to {most}, of {} experts with this routing", self.count);
            return Err(Error::config(format!("{at}.top_k"), expected, self.top_k));
        }
        self.expert.validate(&format!("{at}.expert"))?;
        if let Some(sparsity) = self.expert.sparsity {
            let expected = "none of experts: all of a gate's outputs take part";
            return Err(Error::config(format!("{at}.expert.sparsity"), expected, sparsity));
        }
        if self.routing.weighs_inputs() && self.expert.bias {
            let expected = "none of experts whose inputs are weighted";
            return Err(Error::config(format!("{at}.expert.bias"), expected, true));
        }
        if let Some(shared) = self.shared {
            shared.expert.validate(&format!("{at}.shared.expert"))?;
        }
        if let Some(norm) = self.router_norm {
            norm.validate(&format!("{at}.router_norm"))?;
        }
        if self.router_bias && !self.routing.has_router() {
            let expected = "none where experts are looked up";
            return Err(Error::config(format!("{at}.router_bias"), expected, true));
        }
        self.routing.validate(&format!("{at}.routing"), self.count, self.top_k)?;
        self.validate_capacity(at)?;
        let rule = route_rule(self.routing, true);
        if rule.check("moe_route", self.count, self.top_k).is_err() {
            let found = rule.workgroup_bytes(self.count);
            let expected = "experts and groups for 16 KiB of workgroup memory";
            return Err(Error::config(format!("{at}.routing"), expected, found));
        }
        let is_dropped = self.capacity.is_some() || self.may_leave_out();
        if is_dropped && self.routing.weighs_inputs() {
            let expected = "weights of outputs where choices may be dropped";
            return Err(Error::config(format!("{at}.routing.topk.weight_on"), expected, "input"));
        }
        let (into, out) = (self.expert.up_rows(), u64::from(hidden_size));
        let (experts, choices) = (u64::from(self.count), u64::from(self.top_k));
        count(&format!("{at}.count"), "rows of all experts' matrices", [experts, into.max(out)])?;
        count(&format!("{at}.top_k"), "outputs of a token's experts", [choices, into.max(out)])
    }

    fn validate_capacity(&self, at: &str) -> Result<()> {
        let (key, factor) = match (self.routing, self.capacity) {
            (Routing::ExpertChoice { .. }, Some(_)) => {
                let key = format!("{at}.capacity");
                return Err(Error::config(key, "none where experts choose their tokens", "one"));
            }
            (Routing::ExpertChoice { factor }, None) => ("routing.expert_choice.factor", factor),
            (_, Some(Capacity { factor, share: Share::Tokens, .. })) => {
                let is_count = factor.fract() == 0.0 && (1.0..=MOST_TOKENS).contains(&factor);
                let key = format!("{at}.capacity.factor");
                let expected = format!("a whole number of tokens, 1 to {MOST_TOKENS}");
                return if is_count { Ok(()) } else { Err(Error::config(key, expected, factor)) };
            }
            (_, Some(Capacity { factor, .. })) => ("capacity.factor", factor),
            (_, None) => return Ok(()),
        };
        let key = format!("{at}.{key}");
        check_factor(&key, factor)?;
        let too_fine = |_| Error::config(key, "a factor with fewer digits for so many experts", factor);
        self.share().map(|_| ()).map_err(too_fine)
    }
}

/// Refuses what is no factor, or has less than a thousandth.
fn check_factor(key: &str, factor: f32) -> Result<()> {
    if (0.001..=1000.0).contains(&factor) { Ok(()) } else { Err(Error::config(key, "0.001 to 1000", factor)) }
}

impl Routing {
    fn validate(self, at: &str, experts: u32, choices: u32) -> Result<()> {
        match self {
            Self::Topk(topk) => topk.validate(&format!("{at}.topk"), experts, choices),
            Self::SparseMixer { jitter } => {
                let holds = jitter.is_finite() && jitter >= 0.0;
                let key = format!("{at}.sparse_mixer.jitter");
                if holds { Ok(()) } else { Err(Error::config(key, "a number that is not negative", jitter)) }
            }
            Self::Hierarchical(rule) => rule.validate(&format!("{at}.hierarchical"), experts, choices),
            Self::Sinkhorn { iterations } => at_most(&format!("{at}.sinkhorn.iterations"), 1000, iterations),
            Self::Base { epsilon } => positive_number(&format!("{at}.base.epsilon"), epsilon),
            Self::Task { tasks } => {
                let key = format!("{at}.task.tasks");
                positive(&key, tasks)?;
                count(&key, "experts in the table of tasks", [tasks.into(), choices.into()])
            }
            // The share is checked with the capacities of others.
            Self::ExpertChoice { .. } | Self::Hash | Self::Random { .. } => Ok(()),
        }
    }
}

impl Topk {
    fn validate(self, at: &str, experts: u32, choices: u32) -> Result<()> {
        finite(&format!("{at}.scale"), self.scale)?;
        if let Later::AtLeast { share } | Later::Sampled { share } = self.later {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::config(format!("{at}.later.share"), "above 0 and at most 1", share));
            }
            if self.scale <= 0.0 {
                let expected = "above 0 where later choices may go unused";
                return Err(Error::config(format!("{at}.scale"), expected, self.scale));
            }
            if self.expert_scale {
                let expected = "none where later choices may go unused";
                return Err(Error::config(format!("{at}.expert_scale"), expected, true));
            }
        }
        let Some(ExpertGroups { count, limit, score }) = self.groups else { return Ok(()) };
        let at = format!("{at}.groups");
        positive(&format!("{at}.count"), count)?;
        let least = if score == GroupScore::TwoBest { 2 } else { 1 };
        if !experts.is_multiple_of(count) || experts / count < least {
            let expected = format!("groups of at least {least}, as a divisor of the {experts} experts");
            return Err(Error::config(format!("{at}.count"), expected, count));
        }
        if limit > count || u64::from(limit) * u64::from(experts / count) < u64::from(choices) {
            let expected = format!("of {count} groups enough for {choices} experts");
            return Err(Error::config(format!("{at}.limit"), expected, limit));
        }
        Ok(())
    }
}

impl Hierarchical {
    fn validate(self, at: &str, experts: u32, choices: u32) -> Result<()> {
        let Self { groups, top_groups } = self;
        positive(&format!("{at}.groups"), groups)?;
        if !experts.is_multiple_of(groups) {
            let expected = format!("a divisor of the {experts} experts");
            return Err(Error::config(format!("{at}.groups"), expected, groups));
        }
        at_most(&format!("{at}.top_groups"), groups, top_groups)?;
        let size = experts / groups;
        if !choices.is_multiple_of(top_groups) || choices / top_groups > size {
            let expected = format!("a divisor of the {choices} choices, of at most {size} in each group");
            return Err(Error::config(format!("{at}.top_groups"), expected, top_groups));
        }
        Ok(())
    }
}
