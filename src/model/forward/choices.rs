//! What a description asks for, as the choices of kernels.

use crate::fragments::{Activate, ExpertWeight, GroupLimit, InputNorm, RouteRule, Selection};
use crate::model::config::{Activation, ExpertGroups, GroupScore, NormKind, Routing, Score, Topk};

impl From<Activation> for Activate {
    fn from(activation: Activation) -> Self {
        match activation {
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

impl From<Routing> for RouteRule {
    fn from(routing: Routing) -> Self {
        match routing {
            Routing::Topk(topk) => topk.into(),
            Routing::SparseMixer { .. } => Self { weight: ExpertWeight::SparseMixer, ..Self::SOFTMAX },
        }
    }
}

impl From<Topk> for RouteRule {
    fn from(topk: Topk) -> Self {
        Self {
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
        }
    }
}

impl From<ExpertGroups> for GroupLimit {
    fn from(groups: ExpertGroups) -> Self {
        let ExpertGroups { count, limit, score } = groups;
        Self { groups: count, limit, two_best: score == GroupScore::TwoBest }
    }
}
