//! The dense feed-forward sub-layer.

use super::ForwardPass;
use super::linear::Input;
use crate::Result;
use crate::fragments::Epilogue;
use crate::model::config::FeedForward;
use crate::model::layout::{FeedForwardLayout, SubLayerLayout};
use crate::schedule::TensorId;

impl ForwardPass<'_> {
    /// `x + down(act(gate(norm(x))) * up(norm(x)))`, or `x + down(act(up(norm(x))))`.
    pub(super) fn feed_forward(
        &mut self,
        x: TensorId,
        layer: &SubLayerLayout,
        ffn: &FeedForwardLayout,
    ) -> Result<TensorId> {
        let input = Input::normed(x, &layer.norm);
        let hidden = self.project("up", input, &ffn.into, activated(ffn.config))?;
        self.add("down", x, Input::plain(hidden), &ffn.down, layer)
    }
}

/// What happens to the sums on the way into a feed-forward network.
pub(super) fn activated(ffn: FeedForward) -> Epilogue {
    Epilogue { activate: ffn.activation.into(), gated: ffn.gated, ..Epilogue::NONE }
}
