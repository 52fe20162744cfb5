//! Blocks on several residual streams: [`Streams`].

use super::{Pass, linear, normed, unfit};
use crate::Result;
use crate::model::config::{Op, Streams, SubLayer};
use crate::reference::altup::{Mixing, matched, mean, take};
use crate::reference::weights::{MixingWeights, StreamsWeights, SubLayerWeights, Weights};

/// What happens to streams `[T, A, d]` around blocks.
pub(super) struct OnStreams<'a> {
    config: Streams,
    weights: &'a StreamsWeights,
    d: usize,
}

impl<'a> OnStreams<'a> {
    pub(super) fn new(config: Streams, weights: &'a Weights) -> Result<Self> {
        let d = weights.final_norm.weight.len();
        let weights = weights.streams.as_ref().ok_or_else(|| unfit("a set of weights"))?;
        Ok(Self { config, weights, d })
    }

    /// The embedding `[T, d]` and its projections.
    pub(super) fn start(&self, x: &[f32]) -> Vec<f32> {
        let projections: Vec<_> = self.weights.into.iter().map(|matrix| linear(matrix, x, self.d)).collect();
        matched(x, &projections, self.d, Streams::LEAST_SQUARE)
    }

    /// The streams behind a block.
    pub(super) fn block(
        &self,
        block: usize,
        pass: &mut Pass<'_>,
        (layers, weights): (&[SubLayer], &[SubLayerWeights]),
        streams: &[f32],
    ) -> Result<Vec<f32>> {
        let (count, active) = (self.config.count as usize, self.config.active as usize);
        let of_block = self.weights.mixing.get(block).ok_or_else(|| unfit("a set of weights"))?;
        let mixing = self.mixing(of_block);
        let router_input = |x: &[f32]| normed(self.config.norm, &of_block.norm, x);
        let predicted = mixing.predict(streams, &router_input(&take(streams, count, self.d, active)));
        let mut x = take(&predicted, count, self.d, active);
        let is_reader = |layer: &SubLayer| matches!(layer.op, Op::LayerInput(_));
        for (layer, weights) in layers.iter().zip(weights).filter(|(layer, _)| !is_reader(layer)) {
            pass.onto(layer, weights, &mut x)?;
        }
        let mut streams = mixing.correct(&predicted, &x, &router_input(&x));
        let mut read = take(&streams, count, self.d, active);
        if let Some(scale) = &of_block.scale {
            read.chunks_exact_mut(self.d)
                .for_each(|row| row.iter_mut().zip(scale).for_each(|(x, scale)| *x *= scale));
        }
        for (layer, weights) in layers.iter().zip(weights).filter(|(layer, _)| is_reader(layer)) {
            let output = pass.sublayer(layer, weights, &read, None)?;
            for (streams, output) in streams.chunks_exact_mut(count * self.d).zip(output.chunks_exact(self.d))
            {
                let others = streams.chunks_exact_mut(self.d).skip(1);
                others.for_each(|stream| stream.iter_mut().zip(output).for_each(|(x, output)| *x += output));
            }
            pass.shake(&mut streams);
        }
        Ok(streams)
    }

    /// What the head reads, `[T, d]`.
    pub(super) fn join(&self, streams: &[f32]) -> Vec<f32> {
        let count = self.config.count as usize;
        let of = |(n, matrix)| linear(matrix, &take(streams, count, self.d, n + 1), self.d);
        let projections: Vec<_> = self.weights.out.iter().enumerate().map(of).collect();
        let first = take(streams, count, self.d, 0);
        mean(&matched(&first, &projections, self.d, Streams::LEAST_SQUARE), count, self.d)
    }

    fn mixing(&self, weights: &'a MixingWeights) -> Mixing<'a> {
        Mixing {
            count: self.config.count as usize,
            active: self.config.active as usize,
            router: &weights.router,
            prediction: &weights.prediction,
            correction: &weights.correction,
        }
    }
}
