//! Blocks on several residual streams: predicted before a block, corrected after it, joined for the head.

use super::linear::{Input, NormEnd};
use super::{End, ForwardPass, Target};
use crate::Result;
use crate::fragments::{Epilogue, Reduce};
use crate::kernel::Launch;
use crate::kernels::altup::{Altup, AltupParams, AltupStep};
use crate::kernels::stream_add::{StreamAdd, StreamAddParams};
use crate::kernels::stream_match::{StreamMatch, StreamMatchParams};
use crate::kernels::stream_take::{StreamTake, StreamTakeParams};
use crate::model::config::Streams;
use crate::model::layout::{LayerInputLayout, MixingLayout, OpLayout, StreamsLayout, SubLayerLayout};
use crate::model::slot::Place;
use crate::schedule::TensorId;

impl ForwardPass<'_> {
    /// All blocks, from the embedding to the streams `[rows, A, d]` behind the last.
    pub(super) fn blocks_on_streams(&mut self, x: TensorId, layout: &StreamsLayout) -> Result<TensorId> {
        let mut streams = self.start_streams(x, layout)?;
        for (block, layers) in self.layout.blocks.iter().enumerate() {
            let of = |layer: &&SubLayerLayout| matches!(layer.op, OpLayout::LayerInput(_));
            let readers = layers.iter().filter(of).count();
            let mixing = (layout.config, &layout.mixing[block]);
            self.place = Place::sublayer(block, 0);
            let predicted = self.schedule.activation("predicted", self.stream_bytes(layout.config));
            let mut x = self.mix(AltupStep::Predict, (streams, None), mixing, predicted)?;
            for (n, layer) in layers.iter().take(layers.len() - readers).enumerate() {
                self.place = Place::sublayer(block, n);
                x = self.sublayer(x, layer)?;
            }
            let step = AltupStep::Correct { scaled: layout.config.scaled };
            streams = self.streams_behind(block, layout.config, readers == 0);
            let active = self.mix(step, (predicted, Some(x)), mixing, streams)?;
            for (n, layer) in layers.iter().enumerate().skip(layers.len() - readers) {
                let OpLayout::LayerInput(input) = &layer.op else { continue };
                self.place = Place::sublayer(block, n);
                let y = self.streams_behind(block, layout.config, n + 1 == layers.len());
                self.add_to_streams((streams, active), layer, input, y)?;
                streams = y;
            }
        }
        self.place = Place::Model;
        Ok(streams)
    }

    /// What the head reads: the mean of the first stream and of projections of the others.
    pub(super) fn join_streams(&mut self, streams: TensorId, layout: &StreamsLayout) -> Result<TensorId> {
        let (d, count) = (self.width, layout.config.count);
        let projections = self.schedule.activation("projections", self.row_bytes((count - 1) * d));
        for (n, matrix) in layout.out.iter().enumerate() {
            let taken = self.schedule.activation("taken", self.row_bytes(d));
            let params = StreamTakeParams { width: d, count, stream: n as u32 + 1 };
            let tensors = [("streams", streams), ("y", taken)];
            self.dispatch("take", Launch { variant: StreamTake, params }, &tensors)?;
            let place = (n as u32 * d, (count - 1) * d);
            self.project_beside("project_stream", Input::plain(taken), matrix, projections, place)?;
        }
        let y = self.schedule.activation("joined", self.row_bytes(d));
        self.match_streams("join", (streams, count * d), projections, (layout.config, y))?;
        Ok(y)
    }

    /// The embedding and its projections.
    fn start_streams(&mut self, x: TensorId, layout: &StreamsLayout) -> Result<TensorId> {
        let projections = self.project("project_streams", Input::plain(x), &layout.into, Epilogue::NONE)?;
        let y = self.traced("hidden.0", self.stream_bytes(layout.config));
        self.match_streams("start", (x, self.width), projections, (layout.config, y))?;
        Ok(y)
    }

    /// `x`, with so many elements to a row, and projections as large as it, beside one another or, joined, as their mean.
    fn match_streams(
        &mut self,
        what: &'static str,
        (x, x_stride): (TensorId, u32),
        projections: TensorId,
        (config, y): (Streams, TensorId),
    ) -> Result<()> {
        let mean = x_stride > self.width;
        let variant = StreamMatch { streams: config.count, mean, reduce: Reduce::of(self.capabilities) };
        let params = StreamMatchParams { width: self.width, x_stride, least_square: Streams::LEAST_SQUARE };
        let tensors = [("x", x), ("projections", projections), ("y", y)];
        self.dispatch(what, Launch { variant, params }, &tensors)
    }

    /// A step from streams, and what a layer has made of the active one, to others; gives what is to be read of the active one.
    fn mix(
        &mut self,
        step: AltupStep,
        (streams, activated): (TensorId, Option<TensorId>),
        (config, weights): (Streams, &MixingLayout),
        changed: TensorId,
    ) -> Result<TensorId> {
        let row_words = |cols| weights.router.format.row_words(cols as usize) as u32;
        let variant = Altup { streams: config.count, step, reduce: Reduce::of(self.capabilities) };
        let params = AltupParams {
            width: self.width,
            active_stream: config.active,
            eps: weights.norm.eps(),
            router_stride: row_words(weights.router.cols),
            mixing_stride: row_words(weights.mixing.cols),
        };
        let active = self.schedule.activation("active", self.row_bytes(self.width));
        let [router, mixing] = [&weights.router, &weights.mixing].map(|matrix| self.words(matrix));
        let mut tensors = vec![
            ("streams", streams),
            ("router_norm", self.vectors(&weights.norm)),
            ("router", router),
            ("mixing", mixing),
            ("changed", changed),
            ("active_out", active),
        ];
        tensors.extend(activated.map(|activated| ("activated", activated)));
        let scale = weights.scale.as_ref().filter(|_| step == AltupStep::Correct { scaled: true });
        tensors.extend(scale.map(|scale| ("stored_scale", self.vectors(scale))));
        let what = if step == AltupStep::Predict { "predict" } else { "correct" };
        self.dispatch(what, Launch { variant, params }, &tensors)?;
        Ok(active)
    }

    /// What a layer makes of its own embedding onto all streams but the first.
    fn add_to_streams(
        &mut self,
        (streams, active): (TensorId, TensorId),
        layer: &SubLayerLayout,
        input: &LayerInputLayout,
        y: TensorId,
    ) -> Result<()> {
        let end = End { to: Target::Sum, residual: None, post_norm: None, after: NormEnd::NONE };
        let x = self.layer_input(Input::of(active, layer.norm.as_ref()), input, end)?;
        let Some(norm) = &layer.post_norm else { return Err(no_norm()) };
        let count = self.layout.streams.as_ref().map_or(0, |streams| streams.config.count);
        let variant =
            StreamAdd { streams: count, norm: norm.applied(), reduce: Reduce::of(self.capabilities) };
        let params = StreamAddParams { in_features: self.width, eps: norm.eps() };
        let tensors = [("x", x), ("streams", streams), ("y", y), ("norm_weight", self.vectors(norm))];
        self.dispatch("stream_add", Launch { variant, params }, &tensors)
    }

    /// The streams behind a block, or before its end.
    fn streams_behind(&mut self, block: usize, config: Streams, is_end: bool) -> TensorId {
        let bytes = self.stream_bytes(config);
        match (is_end, block + 1 == self.layout.blocks.len()) {
            (false, _) => self.schedule.activation("streams", bytes),
            (true, false) => self.traced(&format!("hidden.{}", block + 1), bytes),
            (true, true) => self.traced("last_block", bytes),
        }
    }

    fn stream_bytes(&self, config: Streams) -> u64 {
        self.row_bytes(config.count * self.config.hidden_size)
    }
}

fn no_norm() -> crate::Error {
    crate::Error::config("post_norm", "one of a sub-layer that adds to several streams", "none")
}
