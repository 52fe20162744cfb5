//! The places in a model that a checkpoint fills.

/// One tensor a model needs, by its place and not by any file's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Where in the model.
    pub place: Place,
    /// What it does there.
    pub role: Role,
    /// Its weight or its bias.
    pub part: Part,
}

/// Where in the model a tensor belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The model as a whole: embedding, final norm, head.
    Model,
    /// A sub-layer.
    SubLayer {
        /// Index of the block.
        block: usize,
        /// Index in the block.
        sublayer: usize,
    },
    /// One expert of an expert sub-layer.
    Expert {
        /// Index of the block.
        block: usize,
        /// Index in the block.
        sublayer: usize,
        /// Index of the expert.
        expert: usize,
    },
}

/// What a tensor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embedding, `[V, d]`.
    Embedding,
    /// Head, `[V, d]`.
    Head,
    /// The norm before the head, `[d]`.
    FinalNorm,
    /// The norm before a sub-layer, `[d]`.
    Norm,
    /// The norm after a sub-layer, `[d]`.
    PostNorm,
    /// Query projection, `[H h, d]`.
    Q,
    /// Key projection, `[G h, d]`.
    K,
    /// Value projection, `[G h, d]`.
    V,
    /// Output projection, `[d, H h]`.
    Out,
    /// Norm over each query head, `[h]`.
    QNorm,
    /// Norm over each key head, `[h]`.
    KNorm,
    /// Router, `[E, d]`.
    Router,
    /// The branch of a feed-forward network that the activation is applied to when it is gated, `[f, d]`.
    Gate,
    /// The other branch, or the only one, `[f, d]`.
    Up,
    /// The projection back, `[d, f]`.
    Down,
}

/// Weight or bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The weight.
    Weight,
    /// The bias.
    Bias,
}

impl Slot {
    /// The weight with this role at this place.
    pub fn weight(place: Place, role: Role) -> Self {
        Self { place, role, part: Part::Weight }
    }

    /// The bias with this role at this place.
    pub fn bias(place: Place, role: Role) -> Self {
        Self { place, role, part: Part::Bias }
    }
}
