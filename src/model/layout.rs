//! A model's weights as kernels read them: matrices fused, formats chosen, large ones split over bindings.
//!
//! Each sub-layer stands here with its numbers beside its weights, so that a forward pass walks one tree.

mod builder;
mod matrix;
mod rows;

pub use matrix::{Matrix, Vectors, VectorsKind};
pub use rows::Rows;

use std::collections::HashSet;

use super::config::{Attention, Experts, FeedForward, ModelConfig};
use super::plan::WeightPlan;
use super::slot::Slot;
use crate::gpu::Capabilities;
use crate::quant::WeightFormat;
use crate::{Error, Result};

/// The weights of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// `[V, d]`.
    pub embedding: Matrix,
    /// Sub-layers by block.
    pub blocks: Vec<Vec<SubLayerLayout>>,
    /// The norm before the head.
    pub final_norm: Vectors,
    /// `[V, d]`; the embedding itself when it is tied and stored alike.
    pub head: Matrix,
}

/// One sub-layer.
#[derive(Clone, Debug, PartialEq)]
pub struct SubLayerLayout {
    /// The norm before it.
    pub norm: Vectors,
    /// What it computes, and with what.
    pub op: OpLayout,
    /// The norm after it.
    pub post_norm: Option<Vectors>,
}

/// What a sub-layer computes, and with what.
#[derive(Clone, Debug, PartialEq)]
pub enum OpLayout {
    /// Attention.
    Attention(AttentionLayout),
    /// Dense feed-forward.
    FeedForward(FeedForwardLayout),
    /// Sparse feed-forward.
    Experts(ExpertsLayout),
}

/// Attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionLayout {
    /// Its numbers.
    pub config: Attention,
    /// Q, K and V in one, `[(H + 2G) h, d]`.
    pub qkv: Matrix,
    /// The norm of Q's and K's heads.
    pub head_norm: Option<Vectors>,
    /// `[d, H h]`.
    pub out: Matrix,
}

/// Dense feed-forward.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForwardLayout {
    /// Its numbers.
    pub config: FeedForward,
    /// Gate and up in turn, `[2 f, d]`, or up alone, `[f, d]`.
    pub into: Matrix,
    /// `[d, f]`.
    pub down: Matrix,
}

/// Sparse feed-forward.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertsLayout {
    /// Its numbers.
    pub config: Experts,
    /// `[E, d]`, always f32.
    pub router: Matrix,
    /// Gate and up in turn, or up alone, of one expert after the other.
    pub into: Matrix,
    /// `[d, f]` of one expert after the other.
    pub down: Matrix,
}

impl Layout {
    /// Lays a model out for a device.
    ///
    /// # Errors
    /// [`Error::Memory`] for an expert tensor or a single row beyond the device's largest binding;
    /// [`Error::Unsupported`] for a format no kernel reads, or a width for a block that the model does not have.
    pub fn new(config: &ModelConfig, plan: &WeightPlan, capabilities: &Capabilities) -> Result<Self> {
        for format in [plan.linear, plan.experts, plan.embedding] {
            format.validate()?;
        }
        if let Some((block, _)) =
            plan.block_widths.iter().next_back().filter(|(block, _)| **block >= config.blocks.len())
        {
            let what = format!("a width for block {block}");
            let why = format!("'{}' has {} blocks, counted from 0", config.name, config.blocks.len());
            return Err(Error::Unsupported { what, why });
        }
        builder::build(config, plan, capabilities.max_tensor_bytes())
    }

    /// The same layout where transformed inputs belong to the weights that `is_transformed` tells of. Only codes are
    /// stored for them: what a float format stores is the weight itself.
    pub(super) fn with_transforms(mut self, is_transformed: impl Fn(Slot) -> bool) -> Self {
        for matrix in self.matrices_mut() {
            let is_coded = matches!(matrix.format, WeightFormat::Int(_));
            if is_coded && matrix.source.slots(matrix.experts).into_iter().any(&is_transformed) {
                matrix.transform_inputs();
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
        let inner = self.blocks.iter_mut().flatten().flat_map(|layer| match &mut layer.op {
            OpLayout::Attention(attention) => vec![&mut attention.qkv, &mut attention.out],
            OpLayout::FeedForward(ffn) => vec![&mut ffn.into, &mut ffn.down],
            OpLayout::Experts(experts) => vec![&mut experts.router, &mut experts.into, &mut experts.down],
        });
        [&mut self.embedding, &mut self.head].into_iter().chain(inner)
    }

    /// Every matrix once.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let inner = self.blocks.iter().flatten().flat_map(|layer| match &layer.op {
            OpLayout::Attention(attention) => vec![&attention.qkv, &attention.out],
            OpLayout::FeedForward(ffn) => vec![&ffn.into, &ffn.down],
            OpLayout::Experts(experts) => vec![&experts.router, &experts.into, &experts.down],
        });
        let head = (self.head.name != self.embedding.name).then_some(&self.head);
        [&self.embedding].into_iter().chain(inner).chain(head)
    }

    /// Every norm, and what inputs go through before products.
    pub fn norms(&self) -> impl Iterator<Item = &Vectors> {
        let inner = self.blocks.iter().flatten().flat_map(|layer| {
            let head_norm = match &layer.op {
                OpLayout::Attention(attention) => attention.head_norm.as_ref(),
                OpLayout::FeedForward(_) | OpLayout::Experts(_) => None,
            };
            [Some(&layer.norm), head_norm, layer.post_norm.as_ref()].into_iter().flatten()
        });
        let transforms = self.matrices().filter_map(|matrix| matrix.transform.as_ref());
        inner.chain([&self.final_norm]).chain(transforms)
    }

    /// Bytes of weights and scales that a decode step reads: of each expert layer as many experts as a token chooses,
    /// and of the embedding one row.
    pub fn bytes_read_per_step(&self) -> u64 {
        let of_blocks = self.blocks.iter().flatten().map(|layer| match &layer.op {
            OpLayout::Attention(attention) => attention.qkv.bytes_read() + attention.out.bytes_read(),
            OpLayout::FeedForward(ffn) => ffn.into.bytes_read() + ffn.down.bytes_read(),
            OpLayout::Experts(experts) => {
                let of_one = experts.into.bytes_read() + experts.down.bytes_read();
                experts.router.bytes_read() + u64::from(experts.config.top_k) * of_one
            }
        });
        of_blocks.sum::<u64>() + self.head.bytes_read() + self.embedding.row_bytes_read()
    }

    /// Bytes of all weights in device memory.
    pub fn bytes(&self) -> u64 {
        self.matrices().map(Matrix::bytes).sum::<u64>() + self.norms().map(Vectors::bytes).sum::<u64>()
    }
}
