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

use super::config::{Experts, ModelConfig, Op};
use super::slot::{Part, Place, Role, Slot, SubLayerPlace, slots};

/// Parameters by what they do. All but the last are elements of matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The table of token embeddings, which is also the head where that is tied.
    pub embedding: u64,
    /// A head of its own.
    pub head: u64,
    /// Projections of attention, those of cross-attention that read the decoder included.
    pub attention: u64,
    /// Projections of cross-attention that read the encoder: K and V.
    pub cross_kv: u64,
    /// Dense feed-forward networks, the experts that every token uses included.
    pub feed_forward: u64,
    /// Routers, and gates of experts that every token uses.
    pub routers: u64,
    /// Experts that a router chooses.
    pub experts: u64,
    /// All that is no matrix: norms, biases, sinks, scales.
    pub vectors: u64,
}

impl Parameters {
    /// All of them.
    pub fn of(config: &ModelConfig) -> Self {
        Self::count(config, |_, _| 1.0)
    }

    /// Those that a token uses: of experts as many as [`Experts::per_token`] says, and all of the rest. So published counts
    /// have it, which take the whole table of embeddings, tied or not.
    pub fn activated(config: &ModelConfig) -> Self {
        // Experts are alike, so the first stand for any.
        Self::count(config, |experts, n| (experts.per_token() - n as f64).clamp(0.0, 1.0))
    }

    /// Their sum.
    pub fn total(self) -> u64 {
        self.matrices() + self.vectors
    }

    /// The sum of those in matrices. Published counts of models with experts agree with it where those of
    /// [`Self::total`] differ in the last digit.
    pub fn matrices(self) -> u64 {
        self.embedding + self.head + self.cross_kv + self.of_token()
    }

    /// Those in matrices that every token is multiplied with, the head apart.
    pub(super) fn of_token(self) -> u64 {
        self.attention + self.feed_forward + self.routers + self.experts
    }

    /// Counts of the n-th expert of a sub-layer the share that `share` says.
    fn count(config: &ModelConfig, share: impl Fn(&Experts, usize) -> f64) -> Self {
        let ops: HashMap<SubLayerPlace, &Op> =
            config.ops().filter_map(|(place, op)| Some((place.at()?, op))).collect();
        let mut counts = Self::default();
        for (slot, shape) in slots(config) {
            let op = slot.place.at().and_then(|at| ops.get(&at).copied());
            let size: u64 = shape.iter().map(|n| *n as u64).product();
            *counts.of_slot(slot, op) += match (slot.place, op) {
                (Place::Expert(_, n), Some(Op::Experts(experts))) => {
                    (size as f64 * share(experts, n)).round() as u64
                }
                _ => size,
            };
        }
        counts
    }

    /// The count that a slot of an operation belongs to.
    fn of_slot(&mut self, slot: Slot, op: Option<&Op>) -> &mut u64 {
        if slot.part != Part::Weight {
            return &mut self.vectors;
        }
        match slot.role {
            Role::Embedding => &mut self.embedding,
            Role::Head => &mut self.head,
            Role::K | Role::V if matches!(op, Some(Op::CrossAttention(_))) => &mut self.cross_kv,
            Role::Q | Role::K | Role::V | Role::Out => &mut self.attention,
            Role::Router | Role::SharedGate => &mut self.routers,
            Role::Gate | Role::Up | Role::Down if matches!(slot.place, Place::Expert(..)) => {
                &mut self.experts
            }
            Role::Gate | Role::Up | Role::Down => &mut self.feed_forward,
            Role::FinalNorm | Role::Norm | Role::PostNorm | Role::OutputScale => &mut self.vectors,
            Role::QNorm | Role::KNorm | Role::Sinks => &mut self.vectors,
            Role::RouterNorm | Role::SelectionBias | Role::ExpertScale => &mut self.vectors,
        }
    }
}

impl Add for Parameters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            embedding: self.embedding + other.embedding,
            head: self.head + other.head,
            attention: self.attention + other.attention,
            cross_kv: self.cross_kv + other.cross_kv,
            feed_forward: self.feed_forward + other.feed_forward,
            routers: self.routers + other.routers,
            experts: self.experts + other.experts,
            vectors: self.vectors + other.vectors,
        }
    }
}

impl Experts {
    /// How many experts a token uses.
    pub fn per_token(&self) -> f64 {
        f64::from(self.top_k)
    }
}
