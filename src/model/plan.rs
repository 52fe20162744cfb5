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

impl WeightPlan {
    /// Every matrix in one format. The embedding table, of which few rows are read, stays a float: f32 beside f32
    /// weights, else f16.
    pub fn uniform(format: WeightFormat) -> Self {
        let embedding = if format == WeightFormat::F32 { WeightFormat::F32 } else { WeightFormat::F16 };
        Self { linear: format, experts: format, embedding }
    }
}
