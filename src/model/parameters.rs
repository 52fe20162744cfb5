//! How many parameters a description has, and how many of them a token uses.
//!
//! Counted from [`slots`], which is what models are loaded into, so a count is that of the model that runs.
//!
//! ```
//! use wattle::model::parameters::Parameters;
//! use wattle::model::presets::mixtral_8x7b;
//!
//! let mixtral = mixtral_8x7b();
//! assert_eq!(Parameters::of(&mixtral).total(), 46_702_792_704);
//! assert_eq!(Parameters::activated(&mixtral).total(), 12_879_925_248);
//! ```

use std::collections::HashMap;
use std::ops::Add;

use super::config::{Experts, ModelConfig, Op, Routing};
use super::slot::{Part, Place, Role, Slot, Stack, SubLayerPlace, slots};

/// Parameters by what they do. All but the last are elements of matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The table of token embeddings, which is also the head where that is tied, and that of positions.
    pub embedding: u64,
    /// The table of the embeddings of each layer.
    pub layer_table: u64,
    /// A head of its own.
    pub head: u64,
    /// Projections of attention, those of cross-attention that read the decoder included.
    pub attention: u64,
    /// Projections of cross-attention that read the encoder: K and V.
    pub cross_kv: u64,
    /// Dense feed-forward networks, the experts that every token uses included.
    pub feed_forward: u64,
    /// Projections to the widths of sub-layers that have one of their own, and back.
    pub projections: u64,
    /// What brings the embeddings of each layer in: their projection, gates on them, and projections back.
    pub layer_inputs: u64,
    /// What makes, mixes and joins residual streams, where there are several.
    pub streams: u64,
    /// Routers, and gates of experts that every token uses.
    pub routers: u64,
    /// Experts that a router chooses.
    pub experts: u64,
    /// All that multiplies no token as a matrix: norms, biases, those of scores among them, sinks, scales, tables of experts.
    pub others: u64,
}

impl Parameters {
    /// All of them.
    pub fn of(config: &ModelConfig) -> Self {
        Self::count(config, |_, _| 1.0)
    }

    /// Those that a token uses: of experts as many as [`Experts::per_token`] says, and all of the rest but for what
    /// makes the noise of training. So published counts have it, which take the whole table of embeddings, tied or not.
    pub fn activated(config: &ModelConfig) -> Self {
        Self::count(config, activated)
    }

    /// Those of them that a token of one stack uses.
    pub(super) fn activated_in(config: &ModelConfig, stack: Stack) -> Self {
        Self::count(config, |slot, op| if slot.place.stack() == stack { activated(slot, op) } else { 0.0 })
    }

    /// Their sum.
    pub fn total(self) -> u64 {
        self.matrices() + self.others
    }

    /// The sum of those in matrices. Published counts of models with experts agree with it where those of
    /// [`Self::total`] differ in the last digit.
    pub fn matrices(self) -> u64 {
        self.embedding + self.layer_table + self.head + self.cross_kv + self.of_token()
    }

    /// Those in matrices that every token is multiplied with, the head apart.
    pub(super) fn of_token(self) -> u64 {
        let dense = self.attention + self.feed_forward + self.projections + self.layer_inputs;
        dense + self.streams + self.routers + self.experts
    }

    /// Counts of every slot the share that `share` says.
    fn count(config: &ModelConfig, share: impl Fn(Slot, Option<&Op>) -> f64) -> Self {
        let ops: HashMap<SubLayerPlace, &Op> =
            config.ops().filter_map(|(place, op)| Some((place.at()?, op))).collect();
        let mut counts = Self::default();
        for (slot, shape) in slots(config) {
            let op = slot.place.at().and_then(|at| ops.get(&at).copied());
            let size: u64 = shape.iter().map(|n| *n as u64).product();
            *counts.of_slot(slot, op) += (size as f64 * share(slot, op)).round() as u64;
        }
        counts
    }

    /// The count that a slot of an operation belongs to.
    fn of_slot(&mut self, slot: Slot, op: Option<&Op>) -> &mut u64 {
        if slot.part != Part::Weight {
            return &mut self.others;
        }
        match slot.role {
            Role::Embedding | Role::Positions => &mut self.embedding,
            Role::LayerTable => &mut self.layer_table,
            Role::LayerProjection | Role::InputGate | Role::InputProjection => &mut self.layer_inputs,
            Role::StreamProjection | Role::StreamJoin | Role::Prediction | Role::Correction => {
                &mut self.streams
            }
            Role::Router if matches!(slot.place, Place::Block(_)) => &mut self.streams,
            Role::StreamScale => &mut self.others,
            Role::Head => &mut self.head,
            Role::K | Role::V if matches!(op, Some(Op::CrossAttention(_))) => &mut self.cross_kv,
            Role::Q | Role::K | Role::V | Role::Out => &mut self.attention,
            Role::QLatent | Role::KvLatent | Role::LatentK | Role::LatentV => &mut self.attention,
            Role::ProjectIn | Role::ProjectOut => &mut self.projections,
            Role::Router | Role::NoiseRouter | Role::GroupRouter | Role::SharedGate => &mut self.routers,
            Role::Gate | Role::Up | Role::Down if matches!(slot.place, Place::Expert(..)) => {
                &mut self.experts
            }
            Role::Gate | Role::Up | Role::Down => &mut self.feed_forward,
            Role::LayerInputNorm => &mut self.others,
            Role::FinalNorm | Role::Norm | Role::PostNorm | Role::OutputScale => &mut self.others,
            Role::QNorm | Role::KNorm | Role::Sinks | Role::RelativeBias => &mut self.others,
            Role::QLatentNorm | Role::KvLatentNorm => &mut self.others,
            Role::RouterNorm | Role::SelectionBias | Role::ExpertScale | Role::ExpertTable => {
                &mut self.others
            }
        }
    }
}

/// The share of a slot that a token uses.
fn activated(slot: Slot, op: Option<&Op>) -> f64 {
    match (slot.place, slot.role, op) {
        // Experts are alike, so the first stand for any.
        (Place::Expert(_, n), _, Some(Op::Experts(experts))) => {
            (experts.per_token() - n as f64).clamp(0.0, 1.0)
        }
        (_, Role::NoiseRouter, _) => 0.0,
        _ => 1.0,
    }
}

impl Add for Parameters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            embedding: self.embedding + other.embedding,
            layer_table: self.layer_table + other.layer_table,
            head: self.head + other.head,
            attention: self.attention + other.attention,
            cross_kv: self.cross_kv + other.cross_kv,
            feed_forward: self.feed_forward + other.feed_forward,
            projections: self.projections + other.projections,
            streams: self.streams + other.streams,
            layer_inputs: self.layer_inputs + other.layer_inputs,
            routers: self.routers + other.routers,
            experts: self.experts + other.experts,
            others: self.others + other.others,
        }
    }
}

impl Experts {
    /// How many experts a token uses at most, or on average where experts choose their tokens.
    pub fn per_token(&self) -> f64 {
        match self.routing {
            Routing::ExpertChoice { factor } => f64::from(factor).min(f64::from(self.count)),
            _ => f64::from(self.top_k),
        }
    }
}
