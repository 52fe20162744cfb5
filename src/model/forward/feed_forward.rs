//! The dense feed-forward sub-layer.

use super::linear::{EpilogueNumbers, Input};
use super::{End, ForwardPass};
use crate::Result;
use crate::fragments::{Activate, Epilogue, Reduce};
use crate::kernel::Launch;
use crate::kernels::matvec::VecRows;
use crate::kernels::sparse_glu::{SparseGlu, SparseGluParams};
use crate::model::config::FeedForward;
use crate::model::layout::FeedForwardLayout;
use crate::reference::sparse_gate::normal_quantile;
use crate::schedule::TensorId;

impl ForwardPass<'_> {
    /// `end(down(act(gate(input)) * up(input)))`, or `end(down(act(up(input))))`.
    pub(super) fn feed_forward(
        &mut self,
        input: Input<'_>,
        ffn: &FeedForwardLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        if let Some(share) = ffn.config.sparsity {
            let pairs = self.project("up", input, &ffn.into, Epilogue::NONE)?;
            let hidden = self.sparse_glu(pairs, ffn.config, share)?;
            return self.add("down", Input::plain(hidden), &ffn.down, end);
        }
        let epilogue = activated(ffn.config);
        let hidden = self.schedule.activation("up", self.row_bytes(ffn.config.hidden));
        let (glu_alpha, glu_limit) = clamp_of(ffn.config);
        let numbers = EpilogueNumbers { glu_alpha, glu_limit, ..EpilogueNumbers::NONE };
        self.product("up", input, &ffn.into, (epilogue, numbers), VecRows::DENSE, &[("y", hidden)])?;
        self.add("down", Input::plain(hidden), &ffn.down, end)
    }
}

impl ForwardPass<'_> {
    /// Of pairs of gate and up, the products of the largest gates; a share of them takes no part.
    fn sparse_glu(&mut self, pairs: TensorId, ffn: FeedForward, share: f32) -> Result<TensorId> {
        let y = self.schedule.activation("gated", self.row_bytes(ffn.hidden));
        let variant = SparseGlu { activate: ffn.activation.into(), reduce: Reduce::of(self.capabilities) };
        let deviations = normal_quantile(share.into()) as f32;
        let params = SparseGluParams { width: ffn.hidden, deviations };
        self.dispatch("sparse_glu", Launch { variant, params }, &[("pairs", pairs), ("y", y)])?;
        Ok(y)
    }
}

/// Steepness and limit of a clamped gate; 1 where it is not clamped.
pub(super) fn clamp_of(ffn: FeedForward) -> (f32, f32) {
    ffn.clamp.map_or((1.0, 1.0), |clamp| (clamp.alpha, clamp.limit))
}

/// What happens to the sums on the way into a feed-forward network.
pub(super) fn activated(ffn: FeedForward) -> Epilogue {
    let activate = if ffn.clamp.is_some() { Activate::ClampedGlu } else { ffn.activation.into() };
    Epilogue { activate, gated: ffn.gated, ..Epilogue::NONE }
}
