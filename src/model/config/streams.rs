//! Several residual streams as data.

use serde::{Deserialize, Serialize};

use super::{Norm, is_false};

/// Alternating updates of several residual streams (AltUp, arXiv 2301.13310; Gemma 3n).
///
/// A token begins with its embedding and `A - 1` projections of it, each as large. Every block predicts all streams from
/// one another; its sub-layers work on the prediction of the active one; then every prediction is corrected by how far they took
/// it. Sub-layers that read an embedding of their own come last in a block: they read the corrected active stream, and what they give is
/// added to all streams but the first. The head reads the mean of the first stream and of projections of the others, each as large
/// as it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// How many there are, `A`: 2 to [`MAX_STREAMS`](crate::kernels::altup::MAX_STREAMS).
    pub count: u32,
    /// The one that sub-layers work on, counted from 0.
    #[serde(default)]
    pub active: u32,
    /// Norm of what the routers read that say how streams mix.
    pub norm: Norm,
    /// Whether what sub-layers with embeddings of their own read of the active stream is scaled by stored numbers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub scaled: bool,
}

impl Streams {
    /// The mean square of a projection counts as no less where it is made as large as another row.
    pub const LEAST_SQUARE: f32 = 1e-5;
}
