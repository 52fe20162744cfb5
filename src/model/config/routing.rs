//! How tokens find experts.

use serde::{Deserialize, Serialize};

use super::{is_false, one};

/// How experts are chosen and weighted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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
    /// Each token takes the best groups of experts by logits of their own, and of each the best experts, as many of every
    /// group; a weight is the softmax over the chosen groups times that over the chosen experts of the group (hierarchical,
    /// arXiv 1701.06538, appendix B).
    Hierarchical(Hierarchical),
    /// Each expert takes the `max(1, floor(factor n / E))` tokens of the `n` of a pass that give it the largest softmax
    /// probability, which is also the weight; ties go to the earlier token (arXiv 2202.09368). A token may have any number of
    /// experts, and `top_k` is 1. In a step of one token every expert takes it. Earlier tokens of a prompt's chunk compete with
    /// later ones.
    ExpertChoice {
        /// Experts that a token has on average.
        factor: f32,
    },
    /// Each token takes the expert with the largest logit, with its softmax probability as weight. As trained, it takes the one
    /// with the largest entry of its row after rounds that bring `exp(logits)` to row sums of 1 and column sums of `n / E` by
    /// turns, over the `n` tokens of a pass if there are more than one (S-BASE, arXiv 2202.01169, section 3.1). `top_k` is 1.
    Sinkhorn {
        /// Rounds; a column's sums come last.
        #[serde(default = "eight")]
        iterations: u32,
    },
    /// Each token takes the expert with the largest logit, with the logit's sigmoid as weight. As trained, no expert
    /// takes more than `ceil(n / E)` tokens of a pass, which are as many for each where `E` divides `n`, so that the sum of logits
    /// is the largest within `n epsilon`, where the auction's rounds are enough
    /// ([`MoeAuctionParams::max_rounds`](crate::kernels::moe_auction::MoeAuctionParams); up to 256 tokens they are), else as near as
    /// they came (BASE, arXiv 2103.16716, section 3). `top_k` is 1.
    Base {
        /// How far a token may be from its best expert at the final prices of the auction.
        #[serde(default = "thousandth")]
        epsilon: f32,
    },
    /// Each token takes the experts that a stored table has for its id, `[V, k]`, with a weight of `1 / k`; there is no router
    /// (arXiv 2106.04426).
    Hash,
    /// Each token takes the experts that a stored table has for the sequence's task, `[tasks, k]`, with a weight of `1 / k`;
    /// there is no router (arXiv 2205.12755).
    Task {
        /// Rows of the table.
        tasks: u32,
    },
    /// Each token takes `k` neighbouring experts from a pseudo-random one on, by its position, with a weight of `1 / k`; there
    /// is no router (arXiv 2110.04260). Tokens of several sequences at the same position take the same ones.
    Random {
        /// Another one gives other experts.
        seed: u32,
    },
}

/// Experts in groups of neighbours that have a router of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hierarchical {
    /// How many groups there are; a divisor of the experts.
    pub groups: u32,
    /// How many of them a token takes experts of; a divisor of `top_k`.
    pub top_groups: u32,
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
    /// Whether there is a second matrix beside the router's: as trained, normal noise is added to the logits, its spread the
    /// softplus of that matrix's outputs (noisy top-k gating, arXiv 1701.06538, section 2.1).
    #[serde(default, skip_serializing_if = "is_false")]
    pub noise: bool,
    /// When choices after the first are used.
    #[serde(default, skip_serializing_if = "Later::is_always")]
    pub later: Later,
}

/// When the choices of a token after its first are used (arXiv 2202.08906, appendix on top-2 routing; arXiv 2006.16668,
/// section 2.2). Weights stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Later {
    /// All are.
    #[default]
    Always,
    /// Those whose weight is at least so much of the first one's.
    AtLeast {
        /// The share, above 0 and at most 1.
        share: f32,
    },
    /// As trained, each with a probability of its weight over so much of the first one's; else as `at_least`.
    Sampled {
        /// The share, above 0 and at most 1.
        share: f32,
    },
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

impl Routing {
    /// `softmax` over all experts, then the `k` largest; their probabilities as weights (Switch, arXiv 2101.03961), or
    /// with `renormalize` divided by their sum (GShard, arXiv 2006.16668).
    pub const fn softmax_topk(renormalize: bool) -> Self {
        Self::Topk(Topk { renormalize, ..Topk::of(Score::Softmax) })
    }

    /// What there is of a choice of the largest scores.
    pub fn topk(self) -> Option<Topk> {
        match self {
            Self::Topk(topk) => Some(topk),
            _ => None,
        }
    }

    /// Whether experts are chosen by logits, those of a router. Else they are looked up.
    pub fn has_router(self) -> bool {
        !matches!(self, Self::Hash | Self::Task { .. } | Self::Random { .. })
    }

    /// Whether there is a balance over tokens in training.
    pub fn has_balance(self) -> bool {
        matches!(self, Self::Sinkhorn { .. } | Self::Base { .. })
    }

    /// Whether a token has one choice, whatever number of experts comes of it.
    pub fn has_one_choice(self) -> bool {
        matches!(self, Self::ExpertChoice { .. } | Self::Sinkhorn { .. } | Self::Base { .. })
    }

    /// Rows of the table that experts are looked up in, if there is one.
    pub fn table_rows(self, vocab_size: u32) -> Option<u32> {
        match self {
            Self::Hash => Some(vocab_size),
            Self::Task { tasks } => Some(tasks),
            _ => None,
        }
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
            noise: false,
            later: Later::Always,
        }
    }

    /// Whether choices after a token's first may go unused.
    pub fn may_leave_out(self) -> bool {
        self.later != Later::Always
    }

    /// Whether experts are chosen by their scores. Else it is by their logits, whose order is the same, and of which
    /// none that differ are rounded to one score.
    pub fn chooses_by_score(self) -> bool {
        let sums = |groups: ExpertGroups| groups.score == GroupScore::TwoBest;
        self.selection_bias || self.groups.is_some_and(sums)
    }
}

impl Later {
    fn is_always(&self) -> bool {
        *self == Self::Always
    }
}

fn eight() -> u32 {
    8
}

fn thousandth() -> f32 {
    1e-3
}
