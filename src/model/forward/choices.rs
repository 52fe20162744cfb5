//! What a description asks for, as the choices of kernels.

use crate::fragments::{
    Activate, ExpertWeight, GroupLimit, InputNorm, LaterRule, NestedGroups, Queue, RouteRule, Selection,
};
use crate::model::config::{
    Activation, ExpertGroups, GrantOrder, GroupScore, Hierarchical, Later, NormKind, Routing, Score, Topk,
};

impl From<Activation> for Activate {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Identity => Self::Identity,
            Activation::Relu => Self::Relu,
            Activation::Relu2 => Self::Relu2,
            Activation::Silu => Self::Silu,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::GeluErf => Self::GeluErf,
        }
    }
}

impl From<NormKind> for InputNorm {
    fn from(kind: NormKind) -> Self {
        match kind {
            NormKind::Rms | NormKind::RmsUnitOffset | NormKind::RmsUnweighted => Self::Rms,
            NormKind::LayerNorm | NormKind::LayerNormBias => Self::Layer,
        }
    }
}

/// The rule of a router, of tokens that are routed as in training or not.
pub(in crate::model) fn route_rule(routing: Routing, as_trained: bool) -> RouteRule {
    match routing {
        Routing::Topk(topk) => of_topk(topk, as_trained),
        Routing::SparseMixer { .. } => RouteRule { weight: ExpertWeight::SparseMixer, ..RouteRule::SOFTMAX },
        Routing::Hierarchical(Hierarchical { groups, top_groups }) => {
            let nested = Some(NestedGroups { groups, top_groups });
            RouteRule { weight: ExpertWeight::Logit, nested, ..RouteRule::SOFTMAX }
        }
        Routing::Base { .. } => RouteRule { weight: ExpertWeight::Sigmoid, ..RouteRule::SOFTMAX },
        Routing::Sinkhorn { .. } | Routing::ExpertChoice { .. } => RouteRule::SOFTMAX,
        // These have no router.
        Routing::Hash | Routing::Task { .. } | Routing::Random { .. } => RouteRule::SOFTMAX,
    }
}

fn of_topk(topk: Topk, as_trained: bool) -> RouteRule {
    RouteRule {
        weight: match topk.score {
            Score::Softmax => ExpertWeight::Softmax,
            Score::Sigmoid => ExpertWeight::Sigmoid,
        },
        selection: match (topk.selection_bias, topk.chooses_by_score()) {
            (true, _) => Selection::Biased,
            (false, true) => Selection::Scores,
            (false, false) => Selection::Logits,
        },
        groups: topk.groups.map(GroupLimit::from),
        renormalize: topk.renormalize,
        expert_scale: topk.expert_scale,
        nested: None,
        noise: topk.noise && as_trained,
        later: match topk.later {
            Later::Always => LaterRule::Always,
            Later::Sampled { .. } if as_trained => LaterRule::Sampled,
            Later::AtLeast { .. } | Later::Sampled { .. } => LaterRule::AtLeast,
        },
    }
}

impl From<GrantOrder> for Queue {
    fn from(order: GrantOrder) -> Self {
        match order {
            GrantOrder::TokenMajor => Self::TokenMajor,
            GrantOrder::ChoiceMajor => Self::ChoiceMajor,
            GrantOrder::Priority => Self::Priority,
        }
    }
}

impl From<ExpertGroups> for GroupLimit {
    fn from(groups: ExpertGroups) -> Self {
        let ExpertGroups { count, limit, score } = groups;
        Self { groups: count, limit, two_best: score == GroupScore::TwoBest }
    }
}
