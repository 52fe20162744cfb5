//! Embeddings of each layer: all of them at once before the first block, then a gate on each in its layer.

use super::linear::{EpilogueNumbers, Input, NormEnd};
use super::{End, ForwardPass};
use crate::Result;
use crate::fragments::Epilogue;
use crate::kernels::matvec::VecRows;
use crate::model::layout::LayerInputLayout;
use crate::schedule::TensorId;

impl ForwardPass<'_> {
    /// Every layer's own embedding, `[rows, L p]`: `norm(P x) + scale * E[token]`, with `x` as it enters the first block.
    pub(super) fn embed_layers(&mut self, x: TensorId) -> Result<Option<TensorId>> {
        let Some(inputs) = &self.layout.layer_inputs else { return Ok(None) };
        let all = inputs.projection.rows;
        let looked_up = self.schedule.activation("layer_rows", self.row_bytes(all));
        self.embed_rows("layer_rows", (&inputs.table, inputs.config.embedding_scale), looked_up)?;
        let projected =
            self.project("layer_projection", Input::plain(x), &inputs.projection, Epilogue::NONE)?;
        let y = self.schedule.activation("layer_inputs", self.row_bytes(all));
        let each = Input { rows_per_token: all / inputs.config.width, ..Input::plain(projected) };
        self.norm("layer_norm", each, &inputs.norm, (Some(looked_up), NormEnd::NONE), y)?;
        Ok(Some(y))
    }

    /// `end(project(act(gate(input)) * e))`, with `e` the layer's own embedding.
    pub(super) fn layer_input(
        &mut self,
        input: Input<'_>,
        layer: &LayerInputLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        let (Some(embeddings), Some(inputs)) = (self.layer_inputs, &self.layout.layer_inputs) else {
            return Err(crate::Error::config(
                "layer_inputs",
                "embeddings for sub-layers that read them",
                "none",
            ));
        };
        let activate = layer.config.activation.into();
        let epilogue = Epilogue { activate, factor: true, ..Epilogue::NONE };
        let numbers = EpilogueNumbers {
            factor_stride: inputs.projection.rows,
            factor_offset: layer.index * inputs.config.width,
            ..EpilogueNumbers::NONE
        };
        let gated = self.schedule.activation("gated", self.row_bytes(layer.gate.rows));
        let ends = [("factors", embeddings), ("y", gated)];
        self.product("input_gate", input, &layer.gate, (epilogue, numbers), VecRows::DENSE, &ends)?;
        self.add("input_projection", Input::plain(gated), &layer.projection, end)
    }
}
