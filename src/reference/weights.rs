//! The weights of a whole model on the host, with the values that kernels see.

mod build;

/// A model's weights, in the shape of its [`ModelConfig`](crate::model::config::ModelConfig).
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// `[V, d]`.
    pub embedding: Vec<f32>,
    /// What is added by position, `[context_length, d]`.
    pub positions: Option<Vec<f32>>,
    /// What gives layers embeddings of their own.
    pub layer_inputs: Option<LayerInputsWeights>,
    /// `[V, d]`.
    pub head: Linear,
    /// The norm before the head.
    pub final_norm: NormWeights,
    /// What mixes residual streams, where there are several.
    pub streams: Option<StreamsWeights>,
    /// Sub-layers by block.
    pub blocks: Vec<Vec<SubLayerWeights>>,
    /// What is added to the scores of self-attention in `blocks`, `[buckets, H]`.
    pub relative_bias: Option<Vec<f32>>,
    /// The encoder, if there is one.
    pub encoder: Option<EncoderWeights>,
}

/// An encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderWeights {
    /// Sub-layers by block.
    pub blocks: Vec<Vec<SubLayerWeights>>,
    /// The norm of what cross-attention reads.
    pub final_norm: NormWeights,
    /// What is added to the scores of its attention, `[buckets, H]`.
    pub relative_bias: Option<Vec<f32>>,
}

/// What gives each of `L` layers an embedding of its own, as wide as `p`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInputsWeights {
    /// `[V', L p]`.
    pub table: Vec<f32>,
    /// `[L p, d]`.
    pub projection: Linear,
    /// Of each layer's part of the projection, `[p]`.
    pub norm: NormWeights,
}

/// What makes, mixes and joins several residual streams.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamsWeights {
    /// Projections of the embedding to all streams but the first, `[d, d]` each.
    pub into: Vec<Linear>,
    /// Projections of those for the head, `[d, d]` each.
    pub out: Vec<Linear>,
    /// By block.
    pub mixing: Vec<MixingWeights>,
}

/// What mixes streams around a block.
#[derive(Clone, Debug, PartialEq)]
pub struct MixingWeights {
    /// Norm of what the router reads, `[d]`.
    pub norm: NormWeights,
    /// `[A, d]`.
    pub router: Vec<f32>,
    /// `[A A, A]`.
    pub prediction: Vec<f32>,
    /// `[A, A]`.
    pub correction: Vec<f32>,
    /// Scale of what is read of the corrected active stream, `[d]`.
    pub scale: Option<Vec<f32>>,
}

/// A projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Option<Vec<f32>>,
    /// Whether its inputs become codes first.
    pub in_i8: bool,
    /// What inputs go through first.
    pub transform: Option<Transform>,
}

/// What inputs go through before a product: [`transform`](super::transform::transform).
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// `[in]`.
    pub delta: Vec<f32>,
    /// `[in]`.
    pub s: Vec<f32>,
}

/// A norm.
#[derive(Clone, Debug, PartialEq)]
pub struct NormWeights {
    /// One for each element of the axis.
    pub weight: Vec<f32>,
    /// The same; only for [`LayerNormBias`](crate::model::config::NormKind::LayerNormBias).
    pub bias: Option<Vec<f32>>,
}

/// A sub-layer.
#[derive(Clone, Debug, PartialEq)]
pub struct SubLayerWeights {
    /// The norm before it.
    pub norm: Option<NormWeights>,
    /// What leads to a width of its own, and back.
    pub projections: Option<ProjectionWeights>,
    /// What it computes with.
    pub op: OpWeights,
    /// The norm after it.
    pub post_norm: Option<NormWeights>,
    /// What the residual stream is multiplied by after it.
    pub output_scale: Option<f32>,
}

/// Between the residual stream and a sub-layer of another width, `w`, which stands for `d` within it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionWeights {
    /// `[w, d]`.
    pub into: Linear,
    /// `[d, w]`.
    pub out: Linear,
}

/// What a sub-layer computes with.
#[derive(Clone, Debug, PartialEq)]
pub enum OpWeights {
    /// For [`Op::Attention`](crate::model::config::Op::Attention).
    Attention(AttentionWeights),
    /// For [`Op::LatentAttention`](crate::model::config::Op::LatentAttention).
    LatentAttention(LatentAttentionWeights),
    /// For [`Op::CrossAttention`](crate::model::config::Op::CrossAttention): K and V read the encoder's output.
    CrossAttention(AttentionWeights),
    /// For [`Op::FeedForward`](crate::model::config::Op::FeedForward).
    FeedForward(FeedForwardWeights),
    /// For [`Op::Experts`](crate::model::config::Op::Experts).
    Experts(ExpertsWeights),
    /// For [`Op::LayerInput`](crate::model::config::Op::LayerInput).
    LayerInput(LayerInputWeights),
    /// For [`Op::Parallel`](crate::model::config::Op::Parallel).
    Parallel(Vec<SubLayerWeights>),
}

/// Sparse feed-forward.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertsWeights {
    /// The norm of what the router reads, where it has one of its own.
    pub router_norm: Option<NormWeights>,
    /// `[E, d]`; absent where experts are looked up.
    pub router: Option<Linear>,
    /// The spread of the router's noise, `[E, d]`.
    pub noise_router: Option<Vec<f32>>,
    /// The router of groups, `[groups, d]`.
    pub group_router: Option<Vec<f32>>,
    /// The experts of each token id or of each task, `[any, k]`.
    pub table: Option<Vec<f32>>,
    /// What is added to scores for the choice, `[E]`.
    pub selection_bias: Option<Vec<f32>>,
    /// What weights are multiplied by, `[E]`.
    pub expert_scale: Option<Vec<f32>>,
    /// The gate of the shared expert, `[1, d]`.
    pub shared_gate: Option<Vec<f32>>,
    /// The expert that every token uses.
    pub shared: Option<FeedForwardWeights>,
    /// One for each expert.
    pub experts: Vec<FeedForwardWeights>,
}

/// A gate on a layer's own embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInputWeights {
    /// `[p, d]`.
    pub gate: Linear,
    /// `[d, p]`.
    pub projection: Linear,
}

/// Attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionWeights {
    /// `[H h, d]`.
    pub q: Linear,
    /// `[G h, d]`; absent where keys and values are another's.
    pub k: Option<Linear>,
    /// `[G h, d]`; absent where V is K, too.
    pub v: Option<Linear>,
    /// `[d, H h]`.
    pub out: Linear,
    /// Norm of each query head, `[h]`, or with weights for each or over all of them `[H h]`.
    pub q_norm: Option<NormWeights>,
    /// Norm of each key head, `[h]`, or with weights for each or over all of them `[G h]`.
    pub k_norm: Option<NormWeights>,
    /// The logit of each query head's sink, `[H]`.
    pub sinks: Option<Vec<f32>>,
}

/// Attention over latents.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentAttentionWeights {
    /// The projection to the latent of queries, `[q, d]`, and the latent's norm.
    pub q_latent: Option<(Linear, NormWeights)>,
    /// `[H (n + r), q]`, or of the input.
    pub q: Linear,
    /// `[c + r, d]`.
    pub kv_latent: Linear,
    /// Norm of the latent of keys and values, `[c]`.
    pub kv_norm: NormWeights,
    /// `[H n, c]`.
    pub k: Linear,
    /// `[H v, c]`.
    pub v: Linear,
    /// `[d, H v]`.
    pub out: Linear,
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
