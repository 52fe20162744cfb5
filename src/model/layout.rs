//! A model's weights as kernels read them: matrices fused, formats chosen, large ones split over bindings.
//!
//! Each sub-layer stands here with its numbers beside its weights, so that a forward pass walks one tree.

mod builder;
mod matrix;
mod ops;
mod rows;
mod stack;
mod streams;

pub use matrix::{Matrix, Vectors, VectorsKind};
pub use ops::{
    AttentionLayout, CrossAttentionLayout, ExpertsLayout, FeedForwardLayout, LatentAttentionLayout,
    LayerInputLayout, OpLayout,
};
pub use rows::Rows;
pub use stack::{ExpertGroup, ExpertStack};
pub use streams::{MixingLayout, StreamsLayout};

use std::collections::HashSet;

use super::config::{LayerInputs, ModelConfig};
use super::plan::WeightPlan;
use super::slot::{Slot, Stack};
use crate::Result;
use crate::gpu::Capabilities;
use crate::quant::WeightFormat;

/// The weights of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// `[V, d]`.
    pub embedding: Matrix,
    /// What is added by position, `[context_length, d]`, always f32.
    pub positions: Option<Matrix>,
    /// What gives each layer an embedding of its own.
    pub layer_inputs: Option<LayerInputsLayout>,
    /// What mixes residual streams, where there are several.
    pub streams: Option<StreamsLayout>,
    /// The encoder, if there is one.
    pub encoder: Option<EncoderLayout>,
    /// What is added to the scores of self-attention in `blocks`.
    pub relative_bias: Option<Vectors>,
    /// Sub-layers by block.
    pub blocks: Vec<Vec<SubLayerLayout>>,
    /// The norm before the head.
    pub final_norm: Vectors,
    /// `[V, d]`; the embedding itself when it is tied and stored alike.
    pub head: Matrix,
}

/// An encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderLayout {
    /// Sub-layers by block.
    pub blocks: Vec<Vec<SubLayerLayout>>,
    /// The norm of what cross-attention reads.
    pub final_norm: Vectors,
    /// What is added to the scores of its attention.
    pub relative_bias: Option<Vectors>,
}

/// What gives each of `L` layers an embedding of its own, as wide as `p`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInputsLayout {
    /// Its numbers.
    pub config: LayerInputs,
    /// `[V', L p]`.
    pub table: Matrix,
    /// `[L p, d]`.
    pub projection: Matrix,
    /// Of each layer's part of the projection, `[p]`.
    pub norm: Vectors,
}

/// One sub-layer.
#[derive(Clone, Debug, PartialEq)]
pub struct SubLayerLayout {
    /// The norm before it.
    pub norm: Option<Vectors>,
    /// What leads to a width of its own, and back. Matrices of `op` then have it in place of `d`.
    pub projections: Option<ProjectionLayout>,
    /// What it computes, and with what.
    pub op: OpLayout,
    /// The norm after it.
    pub post_norm: Option<Vectors>,
    /// What the residual stream is multiplied by after it, `[1]`.
    pub output_scale: Option<Vectors>,
    /// The same as a number of the description.
    pub output_factor: f32,
    /// Whether its input is added to what comes of it.
    pub keep_input: bool,
}

/// Between the residual stream and a sub-layer of another width, `w`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionLayout {
    /// `[w, d]`.
    pub into: Matrix,
    /// `[d, w]`.
    pub out: Matrix,
}

impl SubLayerLayout {
    /// Those that lead to a width of its own and back, then those of what it computes, but not of its branches.
    fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let of_op = match &self.op {
            OpLayout::Attention(attention) => vec![&attention.qkv, &attention.out],
            OpLayout::LatentAttention(attention) => attention.matrices().collect(),
            OpLayout::FeedForward(ffn) => vec![&ffn.into, &ffn.down],
            OpLayout::Experts(experts) => experts.matrices().collect(),
            OpLayout::CrossAttention(cross) => vec![&cross.q, &cross.kv, &cross.out],
            OpLayout::LayerInput(input) => vec![&input.gate, &input.projection],
            OpLayout::Parallel(_) => Vec::new(),
        };
        self.between().chain(of_op)
    }

    fn between(&self) -> impl Iterator<Item = &Matrix> {
        self.projections.iter().flat_map(|of| [&of.into, &of.out])
    }

    /// Bytes that a token reads of them.
    fn bytes_read(&self) -> u64 {
        match &self.op {
            OpLayout::Experts(experts) => {
                self.between().map(Matrix::bytes_read).sum::<u64>() + experts.bytes_read()
            }
            // K and V are those of the encoder's tokens, which are there.
            OpLayout::CrossAttention(cross) => cross.q.bytes_read() + cross.out.bytes_read(),
            _ => self.matrices().map(Matrix::bytes_read).sum(),
        }
    }
}

impl Layout {
    /// Lays a model out for a device.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] for one expert's matrix or four rows beyond the device's largest binding;
    /// [`crate::Error::Unsupported`] for a format no kernel reads, a width for a block or an expert that the model does
    /// not have, or cross-attention.
    pub fn new(config: &ModelConfig, plan: &WeightPlan, capabilities: &Capabilities) -> Result<Self> {
        plan.check(config)?;
        builder::build(config, plan, capabilities.max_tensor_bytes())
    }

    /// The same layout where transformed inputs belong to the weights that `is_transformed` tells of. Only codes are
    /// stored for them: what a float format stores is the weight itself.
    pub(super) fn with_transforms(mut self, is_transformed: impl Fn(Slot) -> bool) -> Self {
        for (name, mut matrices) in self.stacks_mut() {
            let slots: Vec<Slot> = matrices.iter().flat_map(|matrix| matrix.slots()).collect();
            let is_coded = matrices.iter().all(|matrix| matches!(matrix.format, WeightFormat::Int(_)));
            if !is_coded || !slots.iter().any(|slot| is_transformed(*slot)) {
                continue;
            }
            for matrix in &mut matrices {
                matrix.transform = Some(Vectors {
                    name: format!("{name}.transform"),
                    kind: VectorsKind::Transform,
                    widths: vec![matrix.cols],
                    slots: slots.clone(),
                });
            }
        }
        self
    }

    /// The same layout with the transformations of another layout of the same weights.
    pub(super) fn with_transforms_of(self, other: &Self) -> Self {
        let transforms = other.matrices().filter_map(|matrix| matrix.transform.as_ref());
        let slots: HashSet<Slot> = transforms.flat_map(|transform| &transform.slots).copied().collect();
        self.with_transforms(|slot| slots.contains(&slot))
    }

    /// The same weights, split over bindings as those of another layout of the model, whose rows are no shorter.
    pub(super) fn with_shards_of(mut self, other: &Self) -> Self {
        let shards =
            |name: &str| other.matrices().find(|matrix| matrix.name == name).map(|m| m.shards.clone());
        for matrix in self.matrices_mut() {
            if let Some(shards) = shards(&matrix.name) {
                matrix.shards = shards;
            }
        }
        self
    }

    fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        self.stacks_mut().flat_map(|(_, matrices)| matrices)
    }

    /// Matrices that read one input, with a name for all of them: those of one projection of the experts, else each alone.
    fn stacks_mut(&mut self) -> impl Iterator<Item = (String, Vec<&mut Matrix>)> {
        fn one(matrix: &mut Matrix) -> (String, Vec<&mut Matrix>) {
            (matrix.name.clone(), vec![matrix])
        }
        fn all(stack: &mut ExpertStack) -> (String, Vec<&mut Matrix>) {
            (stack.name.clone(), stack.matrices.iter_mut().collect())
        }
        fn of(layer: &mut SubLayerLayout) -> Vec<(String, Vec<&mut Matrix>)> {
            let SubLayerLayout { projections, op, .. } = layer;
            let between = projections.iter_mut().flat_map(|of| [one(&mut of.into), one(&mut of.out)]);
            let of_op = match op {
                OpLayout::Attention(AttentionLayout { qkv, out, .. }) => vec![one(qkv), one(out)],
                OpLayout::LatentAttention(LatentAttentionLayout {
                    q_latent,
                    q,
                    kv_latent,
                    k,
                    v,
                    out,
                    ..
                }) => {
                    let q_latent = q_latent.iter_mut().map(|(matrix, _)| one(matrix));
                    q_latent.chain([q, kv_latent, k, v, out].map(one)).collect()
                }
                OpLayout::FeedForward(FeedForwardLayout { into, down, .. }) => vec![one(into), one(down)],
                OpLayout::Experts(ExpertsLayout { router, shared, into, down, .. }) => {
                    let shared = shared.iter_mut().flat_map(|ffn| [one(&mut ffn.into), one(&mut ffn.down)]);
                    router.iter_mut().map(one).chain(shared).chain([all(into), all(down)]).collect()
                }
                OpLayout::CrossAttention(CrossAttentionLayout { q, kv, out, .. }) => {
                    vec![one(q), one(kv), one(out)]
                }
                OpLayout::LayerInput(LayerInputLayout { gate, projection, .. }) => {
                    vec![one(gate), one(projection)]
                }
                OpLayout::Parallel(branches) => branches.iter_mut().flat_map(of).collect(),
            };
            between.chain(of_op).collect()
        }
        let encoder = self.encoder.iter_mut().flat_map(|encoder| &mut encoder.blocks);
        let inner = encoder.chain(&mut self.blocks).flatten().flat_map(of);
        let layer_inputs = self.layer_inputs.iter_mut();
        let layer_inputs =
            layer_inputs.flat_map(|inputs| [one(&mut inputs.table), one(&mut inputs.projection)]);
        let streams = self.streams.iter_mut().flat_map(StreamsLayout::matrices_mut).map(one);
        let tables = [one(&mut self.embedding), one(&mut self.head)];
        let positions = self.positions.iter_mut().map(one);
        tables.into_iter().chain(positions).chain(layer_inputs).chain(streams).chain(inner)
    }

    /// Every sub-layer, each parallel one followed by its branches, those of an encoder first.
    pub fn sublayers(&self) -> impl Iterator<Item = &SubLayerLayout> {
        [Stack::Encoder, Stack::Decoder].into_iter().flat_map(|stack| self.sublayers_of(stack))
    }

    /// The same of one stack.
    pub fn sublayers_of(&self, stack: Stack) -> impl Iterator<Item = &SubLayerLayout> {
        self.blocks_of(stack).iter().flatten().flat_map(|layer| {
            let branches = match &layer.op {
                OpLayout::Parallel(branches) => branches.as_slice(),
                OpLayout::Attention(_) | OpLayout::LatentAttention(_) | OpLayout::CrossAttention(_) => &[],
                OpLayout::FeedForward(_) => &[],
                OpLayout::Experts(_) | OpLayout::LayerInput(_) => &[],
            };
            [layer].into_iter().chain(branches)
        })
    }

    /// The blocks of a stack; an encoder that is not there has none.
    pub fn blocks_of(&self, stack: Stack) -> &[Vec<SubLayerLayout>] {
        match stack {
            Stack::Decoder => &self.blocks,
            Stack::Encoder => self.encoder.as_ref().map_or(&[], |encoder| &encoder.blocks),
        }
    }

    /// What is added to the scores of a stack's self-attention.
    pub fn relative_bias_of(&self, stack: Stack) -> Option<&Vectors> {
        match stack {
            Stack::Decoder => self.relative_bias.as_ref(),
            Stack::Encoder => self.encoder.as_ref()?.relative_bias.as_ref(),
        }
    }

    /// Every matrix once.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let inner = self.sublayers().flat_map(SubLayerLayout::matrices);
        let head = (self.head.name != self.embedding.name).then_some(&self.head);
        let layer_inputs = self.layer_inputs.iter().flat_map(|inputs| [&inputs.table, &inputs.projection]);
        let streams = self.streams.iter().flat_map(StreamsLayout::matrices);
        let tables = [&self.embedding].into_iter().chain(&self.positions);
        tables.chain(layer_inputs).chain(streams).chain(inner).chain(head)
    }

    /// Every norm, what inputs go through before products, and what else is no matrix.
    pub fn vectors(&self) -> impl Iterator<Item = &Vectors> {
        let inner = self.sublayers().flat_map(|layer| {
            let of_op: Vec<&Vectors> = match &layer.op {
                OpLayout::Attention(attention) => {
                    attention.head_norm.iter().chain(&attention.sinks).collect()
                }
                OpLayout::LatentAttention(attention) => {
                    attention.q_latent.iter().map(|(_, norm)| norm).chain([&attention.kv_norm]).collect()
                }
                OpLayout::Experts(experts) => experts.vectors().collect(),
                OpLayout::CrossAttention(cross) => cross.sinks.iter().collect(),
                OpLayout::FeedForward(_) | OpLayout::LayerInput(_) | OpLayout::Parallel(_) => Vec::new(),
            };
            [&layer.norm, &layer.post_norm, &layer.output_scale].into_iter().flatten().chain(of_op)
        });
        // Matrices of a stack have one transformation.
        let mut seen = HashSet::new();
        let transforms = self.matrices().filter_map(|matrix| matrix.transform.as_ref());
        let transforms = transforms.filter(move |transform| seen.insert(&transform.name));
        let layer_inputs = self.layer_inputs.iter().map(|inputs| &inputs.norm);
        let streams = self.streams.iter().flat_map(StreamsLayout::vectors);
        let biases = [Stack::Encoder, Stack::Decoder].into_iter().filter_map(|of| self.relative_bias_of(of));
        let of_encoder = self.encoder.iter().map(|encoder| &encoder.final_norm);
        let others = biases.chain(of_encoder).chain([&self.final_norm]);
        layer_inputs.chain(streams).chain(inner).chain(others).chain(transforms)
    }

    /// Bytes of weights and scales that a decode step reads, an encoder's apart: of each expert layer as many experts as a token chooses,
    /// the widest where widths differ, and of embeddings and positions one row.
    pub fn bytes_read_per_step(&self) -> u64 {
        let of_blocks = self.sublayers_of(Stack::Decoder).map(SubLayerLayout::bytes_read);
        let of_inputs =
            |inputs: &LayerInputsLayout| inputs.table.row_bytes_read() + inputs.projection.bytes_read();
        let of_tables = [&self.embedding].into_iter().chain(&self.positions).map(Matrix::row_bytes_read);
        let before = of_tables.sum::<u64>() + self.layer_inputs.as_ref().map_or(0, of_inputs);
        let streams = self.streams.iter().flat_map(StreamsLayout::matrices).map(Matrix::bytes_read);
        before + streams.sum::<u64>() + of_blocks.sum::<u64>() + self.head.bytes_read()
    }

    /// Bytes of all weights in device memory.
    pub fn bytes(&self) -> u64 {
        self.matrices().map(Matrix::bytes).sum::<u64>() + self.vectors().map(Vectors::bytes).sum::<u64>()
    }
}
