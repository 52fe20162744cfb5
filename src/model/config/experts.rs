//! Sparse feed-forward: experts, and how tokens find them.

use serde::{Deserialize, Serialize};

use super::{FeedForward, Norm, Routing, Topk, is_false};
use crate::Result;
use crate::kernels::expert_plan::ExpertShare;

/// Sparse feed-forward: a router chooses `top_k` of `count` feed-forward networks per token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    /// How many experts there are, `E`.
    pub count: u32,
    /// How many a token uses, `k`.
    pub top_k: u32,
    /// How they are chosen and weighted.
    pub routing: Routing,
    /// How many tokens an expert takes at most; absent: all that chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// One expert.
    pub expert: FeedForward,
    /// Norm of what the router reads, in place of the sub-layer's (Gemma 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_norm: Option<Norm>,
    /// Whether the router's logits have biases (gpt-oss).
    #[serde(default, skip_serializing_if = "is_false")]
    pub router_bias: bool,
    /// An expert that every token uses besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedExpert>,
}

/// An expert that every token uses (DeepSeekMoE, arXiv 2401.06066).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedExpert {
    /// The network.
    pub expert: FeedForward,
    /// Whether its output is multiplied by `sigmoid(w . x)`, where `x` is what the router reads (Qwen2-MoE).
    #[serde(default, skip_serializing_if = "is_false")]
    pub gated: bool,
}

/// How many tokens of a pass an expert takes: of more, those that come last in an order are dropped, and the residual alone
/// carries them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Multiplies an even share; it is taken to the nearest thousandth. Or the tokens themselves, [`Share::Tokens`].
    pub factor: f32,
    /// What an even share is.
    #[serde(default)]
    pub share: Share,
    /// Who comes first.
    #[serde(default)]
    pub order: GrantOrder,
}

/// An expert's even share of the `n` tokens of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// `ceil(factor k n / E)`, at least 1 (GShard, arXiv 2006.16668; Switch, arXiv 2101.03961).
    #[default]
    PerChoice,
    /// `floor(factor n / E)`, at least 1: a factor of 2 of two choices is 1 of the other.
    PerToken,
    /// `factor` tokens, a whole number, whatever the pass has (Switch Transformers: `expert_capacity`).
    Tokens,
}

/// In which order the choices of a pass are granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantOrder {
    /// All first choices in the order of tokens, then all second ones (GShard, arXiv 2006.16668, algorithm 1).
    #[default]
    ChoiceMajor,
    /// All choices of the first token, then those of the second.
    TokenMajor,
    /// As `choice_major`, with tokens in the falling order of their largest weight (batch prioritized routing, arXiv
    /// 2106.05974, section 3).
    Priority,
}

/// A factor in thousandths, to the nearest.
pub(crate) fn thousandths(factor: f32) -> u32 {
    (f64::from(factor) * 1000.0).round() as u32
}

impl Experts {
    /// Experts that a router chooses by the sub-layer's input, and nothing beside them.
    pub const fn new(count: u32, top_k: u32, routing: Routing, expert: FeedForward) -> Self {
        Self {
            count,
            top_k,
            routing,
            capacity: None,
            expert,
            router_norm: None,
            router_bias: false,
            shared: None,
        }
    }

    /// What an expert takes of a pass, where that is not all that chose it.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for a factor that is too fine.
    pub fn share(&self) -> Result<Option<ExpertShare>> {
        let share = |factor: f32, choices, up| {
            ExpertShare::new(thousandths(factor), choices, self.count, up).map(Some)
        };
        match (self.routing, self.capacity) {
            (Routing::ExpertChoice { factor }, _) => share(factor, 1, false),
            (_, Some(Capacity { factor, share: Share::PerChoice, .. })) => share(factor, self.top_k, true),
            (_, Some(Capacity { factor, share: Share::PerToken, .. })) => share(factor, 1, false),
            (_, Some(Capacity { factor, share: Share::Tokens, .. })) => {
                Ok(Some(ExpertShare::tokens(factor as u32)))
            }
            (_, None) => Ok(None),
        }
    }

    /// Whether choices after a token's first may go unused.
    pub fn may_leave_out(&self) -> bool {
        self.routing.topk().is_some_and(Topk::may_leave_out)
    }

    /// Experts of a token that is alone in its pass: where experts choose, all of them.
    pub fn choices_of_one(&self) -> u32 {
        if matches!(self.routing, Routing::ExpertChoice { .. }) { self.count } else { self.top_k }
    }

    /// Whether each token's experts follow from its own logits. Else other tokens have a say, or there is no router.
    pub fn chooses_by_token(&self, as_trained: bool) -> bool {
        let is_alone = !Self { capacity: None, ..*self }.compares_tokens(as_trained);
        is_alone && self.routing.has_router()
    }

    /// Whether what a token gets hangs on the other tokens of its pass, at inference or as trained.
    pub fn compares_tokens(&self, as_trained: bool) -> bool {
        let balanced = match self.routing {
            Routing::ExpertChoice { .. } => true,
            Routing::Sinkhorn { .. } | Routing::Base { .. } => as_trained,
            Routing::Topk(_) | Routing::SparseMixer { .. } | Routing::Hierarchical(_) => false,
            Routing::Hash | Routing::Task { .. } | Routing::Random { .. } => false,
        };
        balanced || self.capacity.is_some()
    }
}
