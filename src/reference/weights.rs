//! The weights of a whole model on the host, with the values that kernels see.

use crate::Result;
use crate::model::config::{Attention, Experts, FeedForward, ModelConfig, Norm, NormKind, Op, SubLayer};
use crate::model::plan::WeightPlan;
use crate::model::slot::{Place, Role, Slot};
use crate::quant::{PackedMatrix, WeightFormat};

/// A model's weights, in the shape of its [`ModelConfig`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// `[V, d]`.
    pub embedding: Vec<f32>,
    /// `[V, d]`.
    pub head: Vec<f32>,
    /// The norm before the head.
    pub final_norm: NormWeights,
    /// Sub-layers by block.
    pub blocks: Vec<Vec<SubLayerWeights>>,
}

/// A projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Option<Vec<f32>>,
}

/// A norm.
#[derive(Clone, Debug, PartialEq)]
pub struct NormWeights {
    /// One for each element of the axis.
    pub weight: Vec<f32>,
    /// The same; only for [`NormKind::LayerNormBias`].
    pub bias: Option<Vec<f32>>,
}

/// A sub-layer.
#[derive(Clone, Debug, PartialEq)]
pub struct SubLayerWeights {
    /// The norm before it.
    pub norm: NormWeights,
    /// What it computes with.
    pub op: OpWeights,
    /// The norm after it.
    pub post_norm: Option<NormWeights>,
}

/// What a sub-layer computes with.
#[derive(Clone, Debug, PartialEq)]
pub enum OpWeights {
    /// For [`Op::Attention`].
    Attention(AttentionWeights),
    /// For [`Op::FeedForward`].
    FeedForward(FeedForwardWeights),
    /// For [`Op::Experts`].
    Experts {
        /// `[E, d]`.
        router: Vec<f32>,
        /// One for each expert.
        experts: Vec<FeedForwardWeights>,
    },
}

/// Attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionWeights {
    /// `[H h, d]`.
    pub q: Linear,
    /// `[G h, d]`.
    pub k: Linear,
    /// `[G h, d]`.
    pub v: Linear,
    /// `[d, H h]`.
    pub out: Linear,
    /// Norm of each query head, `[h]`.
    pub q_norm: Option<NormWeights>,
    /// Norm of each key head, `[h]`.
    pub k_norm: Option<NormWeights>,
}

/// A feed-forward network.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForwardWeights {
    /// `[f, d]`; absent in one that is not gated.
    pub gate: Option<Linear>,
    /// `[f, d]`.
    pub up: Linear,
    /// `[d, f]`.
    pub down: Linear,
}

impl Weights {
    /// Asks `fetch` for the f32 values of every slot the model has, with the shape expected of them.
    ///
    /// Projections, experts, embedding and head are packed in the plan's formats and unpacked again, so that they
    /// are what a kernel reads; router, norms and biases stay as they are. A tied head is the table as fetched,
    /// packed in the plan's `linear` format.
    ///
    /// # Errors
    /// Whatever `fetch` returns, and those of [`PackedMatrix::pack`]; [`crate::Error::Unsupported`] for widths of blocks
    /// and experts that the model does not have.
    pub fn build(
        config: &ModelConfig,
        plan: &WeightPlan,
        fetch: impl FnMut(Slot, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        plan.check(config)?;
        let (vocab, d) = (config.vocab_size as usize, config.hidden_size as usize);
        let mut builder = Builder { d, plan, fetch };
        let table = (builder.fetch)(Slot::weight(Place::Model, Role::Embedding), &[vocab, d])?;
        let head = match config.head.tied {
            true => as_stored(plan.linear, [vocab, d], &table)?,
            false => builder.matrix(plan.linear, Place::Model, Role::Head, [vocab, d])?,
        };
        let mut blocks = vec![Vec::new(); config.blocks.len()];
        for (block, sublayer, layer) in config.sublayers() {
            blocks[block].push(builder.sublayer(block, sublayer, layer)?);
        }
        Ok(Self {
            embedding: as_stored(plan.embedding, [vocab, d], &table)?,
            head,
            final_norm: builder.norm(Place::Model, Role::FinalNorm, config.final_norm, d)?,
            blocks,
        })
    }
}

struct Builder<'a, F> {
    d: usize,
    plan: &'a WeightPlan,
    fetch: F,
}

impl<F: FnMut(Slot, &[usize]) -> Result<Vec<f32>>> Builder<'_, F> {
    fn sublayer(&mut self, block: usize, sublayer: usize, layer: &SubLayer) -> Result<SubLayerWeights> {
        let place = Place::SubLayer { block, sublayer };
        let op = match &layer.op {
            Op::Attention(attention) => {
                let format = self.plan.in_block(self.plan.linear, block);
                OpWeights::Attention(self.attention(format, place, attention)?)
            }
            Op::FeedForward(ffn) => OpWeights::FeedForward(self.feed_forward(
                self.plan.in_block(self.plan.linear, block),
                place,
                ffn,
            )?),
            Op::Experts(experts) => self.experts(block, sublayer, experts)?,
        };
        let post_norm = layer.post_norm.map(|norm| self.norm(place, Role::PostNorm, norm, self.d));
        Ok(SubLayerWeights {
            norm: self.norm(place, Role::Norm, layer.norm, self.d)?,
            op,
            post_norm: post_norm.transpose()?,
        })
    }

    fn attention(
        &mut self,
        format: WeightFormat,
        place: Place,
        attention: &Attention,
    ) -> Result<AttentionWeights> {
        let (d, h) = (self.d, attention.head_dim as usize);
        let (q, kv) = (attention.heads as usize * h, attention.kv_heads as usize * h);
        let mut qk_norm = |role| attention.qk_norm.map(|norm| self.norm(place, role, norm, h)).transpose();
        Ok(AttentionWeights {
            q_norm: qk_norm(Role::QNorm)?,
            k_norm: qk_norm(Role::KNorm)?,
            q: self.linear(format, place, Role::Q, [q, d], attention.qkv_bias)?,
            k: self.linear(format, place, Role::K, [kv, d], attention.qkv_bias)?,
            v: self.linear(format, place, Role::V, [kv, d], attention.qkv_bias)?,
            out: self.linear(format, place, Role::Out, [d, q], attention.out_bias)?,
        })
    }

    fn experts(&mut self, block: usize, sublayer: usize, experts: &Experts) -> Result<OpWeights> {
        let shape = [experts.count as usize, self.d];
        let router = Slot::weight(Place::SubLayer { block, sublayer }, Role::Router);
        Ok(OpWeights::Experts {
            router: (self.fetch)(router, &shape)?,
            experts: (0..experts.count as usize)
                .map(|expert| {
                    let place = Place::Expert { block, sublayer, expert };
                    self.feed_forward(self.plan.of_expert(block, expert), place, &experts.expert)
                })
                .collect::<Result<_>>()?,
        })
    }

    fn feed_forward(
        &mut self,
        format: WeightFormat,
        place: Place,
        ffn: &FeedForward,
    ) -> Result<FeedForwardWeights> {
        let (d, f) = (self.d, ffn.hidden as usize);
        let gate = ffn.gated.then(|| self.linear(format, place, Role::Gate, [f, d], ffn.bias));
        Ok(FeedForwardWeights {
            gate: gate.transpose()?,
            up: self.linear(format, place, Role::Up, [f, d], ffn.bias)?,
            down: self.linear(format, place, Role::Down, [d, f], ffn.bias)?,
        })
    }

    fn linear(
        &mut self,
        format: WeightFormat,
        place: Place,
        role: Role,
        shape: [usize; 2],
        bias: bool,
    ) -> Result<Linear> {
        let weight = self.matrix(format, place, role, shape)?;
        let bias = bias.then(|| (self.fetch)(Slot::bias(place, role), &shape[..1])).transpose()?;
        Ok(Linear { weight, bias })
    }

    fn matrix(
        &mut self,
        format: WeightFormat,
        place: Place,
        role: Role,
        shape: [usize; 2],
    ) -> Result<Vec<f32>> {
        as_stored(format, shape, &(self.fetch)(Slot::weight(place, role), &shape)?)
    }

    fn norm(&mut self, place: Place, role: Role, norm: Norm, len: usize) -> Result<NormWeights> {
        let weight = (self.fetch)(Slot::weight(place, role), &[len])?;
        let bias = match norm.kind {
            NormKind::LayerNormBias => Some((self.fetch)(Slot::bias(place, role), &[len])?),
            NormKind::Rms | NormKind::RmsUnitOffset | NormKind::LayerNorm => None,
        };
        Ok(NormWeights { weight, bias })
    }
}

/// The values a kernel reads when `weights` are stored in `format`.
fn as_stored(format: WeightFormat, [rows, cols]: [usize; 2], weights: &[f32]) -> Result<Vec<f32>> {
    Ok(PackedMatrix::pack(format, rows, cols, weights)?.unpack())
}
