//! What mixes several residual streams.

use super::{Matrix, Vectors};
use crate::model::config::Streams;

/// What makes several residual streams of an embedding, mixes them and joins them.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamsLayout {
    /// Its numbers.
    pub config: Streams,
    /// The embedding's projections to all streams but the first, `[(A - 1) d, d]`.
    pub into: Matrix,
    /// Projections of those streams for the head, `[d, d]` each.
    pub out: Vec<Matrix>,
    /// By block.
    pub mixing: Vec<MixingLayout>,
}

/// What mixes streams around a block.
#[derive(Clone, Debug, PartialEq)]
pub struct MixingLayout {
    /// Norm of what the router reads, `[d]`.
    pub norm: Vectors,
    /// `[A, d]`, always f32.
    pub router: Matrix,
    /// Predictions above corrections, `[A A + A, A]`, always f32.
    pub mixing: Matrix,
    /// Scale of what sub-layers with embeddings of their own read, `[d]`.
    pub scale: Option<Vectors>,
}

impl StreamsLayout {
    /// Every matrix.
    pub(super) fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let mixing = self.mixing.iter().flat_map(|of| [&of.router, &of.mixing]);
        [&self.into].into_iter().chain(&self.out).chain(mixing)
    }

    /// The same, to change them.
    pub(super) fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        let mixing = self.mixing.iter_mut().flat_map(|of| [&mut of.router, &mut of.mixing]);
        [&mut self.into].into_iter().chain(&mut self.out).chain(mixing)
    }

    /// Norms and scales.
    pub(super) fn vectors(&self) -> impl Iterator<Item = &Vectors> {
        self.mixing.iter().flat_map(|of| [&of.norm].into_iter().chain(&of.scale))
    }
}
