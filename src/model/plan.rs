//! Which weights are stored in which format.

use crate::quant::WeightFormat;

/// The storage format of every weight matrix of a model. Router, norms and biases are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightPlan {
    /// Attention and dense feed-forward projections, and the head.
    pub linear: WeightFormat,
    /// The experts' projections.
    pub experts: WeightFormat,
    /// The embedding table. A tied head shares it when `linear` is the same format.
    pub embedding: WeightFormat,
}
