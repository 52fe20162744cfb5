//! Sparse feed-forward: experts, and how tokens find them.

use serde::{Deserialize, Serialize};

use super::{FeedForward, Norm, is_false, one};

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

/// How experts are chosen and weighted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// Each token takes the `k` experts with the largest scores; ties go to the lower index.
    Topk(Topk),
    /// Each token takes the expert of the largest logit, then that of the largest among the others, and so on, each
    /// weighted by a softmax over what is left; of that, logits `l` with `(max - l) / max(|l|, max) > 2 jitter` have no
    /// part (sparse mixer, arXiv 2409.12136, as in Phi-3.5-MoE).
    SparseMixer {
        /// How near a logit must be to the largest.
        jitter: f32,
    },
}

/// Choice of the `k` largest scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topk {
    /// From logits to scores, which are also the weights.
    pub score: Score,
    /// Whether the `k` weights are divided by their sum. With softmax this is the softmax over the chosen logits alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub renormalize: bool,
    /// Multiplies the weights (DeepSeek-V2: `routed_scaling_factor`).
    #[serde(default = "one")]
    pub scale: f32,
    /// Whether a stored number per expert is added to its score for the choice, and not for the weight (DeepSeek-V3,
    /// arXiv 2412.19437, section 2.1.2).
    #[serde(default, skip_serializing_if = "is_false")]
    pub selection_bias: bool,
    /// Whether weights are multiplied by a stored number per expert (Gemma 4).
    #[serde(default, skip_serializing_if = "is_false")]
    pub expert_scale: bool,
    /// Only experts of some of these groups can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<ExpertGroups>,
    /// What the weight multiplies.
    #[serde(default)]
    pub weight_on: WeightOn,
}

/// From logits to scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Softmax over all experts.
    Softmax,
    /// `1 / (1 + e^-l)`.
    Sigmoid,
}

/// What the weight of a chosen expert multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightOn {
    /// Its output.
    #[default]
    Output,
    /// Its input (Llama 4).
    Input,
}

/// Experts in groups of neighbours, of which a token may choose from the best `limit` alone (DeepSeek-V2, arXiv 2405.04434,
/// section 2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertGroups {
    /// How many there are; a divisor of the experts.
    pub count: u32,
    /// How many of them a token chooses from.
    pub limit: u32,
    /// What a group is worth.
    pub score: GroupScore,
}

/// What a group of experts is worth to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupScore {
    /// Its best score (DeepSeek-V2).
    Best,
    /// The sum of its two best scores, biases included (DeepSeek-V3).
    TwoBest,
}

impl Experts {
    /// Experts that a router chooses by the sub-layer's input, and nothing beside them.
    pub const fn new(count: u32, top_k: u32, routing: Routing, expert: FeedForward) -> Self {
        Self { count, top_k, routing, expert, router_norm: None, router_bias: false, shared: None }
    }
}

impl Routing {
    /// `softmax` over all experts, then the `k` largest; their probabilities as weights (Switch, arXiv 2101.03961), or
    /// with `renormalize` divided by their sum (GShard, arXiv 2006.16668).
    pub const fn softmax_topk(renormalize: bool) -> Self {
        Self::Topk(Topk { renormalize, ..Topk::of(Score::Softmax) })
    }

    /// Whether weights multiply experts' inputs.
    pub fn weighs_inputs(self) -> bool {
        matches!(self, Self::Topk(Topk { weight_on: WeightOn::Input, .. }))
    }

    /// The `k` largest logits, then softmax over those (arXiv 1701.06538; gpt-oss).
    pub const fn topk_softmax() -> Self {
        Self::softmax_topk(true)
    }
}

impl Topk {
    /// Scores as weights, and nothing else.
    pub const fn of(score: Score) -> Self {
        Self {
            score,
            renormalize: false,
            scale: 1.0,
            selection_bias: false,
            expert_scale: false,
            groups: None,
            weight_on: WeightOn::Output,
        }
    }

    /// Whether experts are chosen by their scores. Else it is by their logits, whose order is the same, and of which
    /// none that differ are rounded to one score.
    pub fn chooses_by_score(self) -> bool {
        let sums = |groups: ExpertGroups| groups.score == GroupScore::TwoBest;
        self.selection_bias || self.groups.is_some_and(sums)
    }
}
