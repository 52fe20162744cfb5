//! The dense feed-forward sub-layer.

use super::linear::{EpilogueNumbers, Input};
use super::{End, ForwardPass};
use crate::Result;
use crate::fragments::{Activate, Epilogue};
use crate::kernels::matvec::VecRows;
use crate::model::config::FeedForward;
use crate::model::layout::FeedForwardLayout;
use crate::schedule::TensorId;

impl ForwardPass<'_> {
    /// `end(down(act(gate(input)) * up(input)))`, or `end(down(act(up(input))))`.
    pub(super) fn feed_forward(
        &mut self,
        input: Input<'_>,
        ffn: &FeedForwardLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        let epilogue = activated(ffn.config);
        let hidden = self.schedule.activation("up", self.row_bytes(ffn.config.hidden));
        let (glu_alpha, glu_limit) = clamp_of(ffn.config);
        let numbers = EpilogueNumbers { glu_alpha, glu_limit, ..EpilogueNumbers::NONE };
        self.product("up", input, &ffn.into, (epilogue, numbers), VecRows::DENSE, &[("y", hidden)])?;
        self.add("down", Input::plain(hidden), &ffn.down, end)
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
