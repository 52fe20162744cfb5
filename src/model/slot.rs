//! The places in a model that a checkpoint fills.

mod list;

pub use list::{router_offset, router_parts, slots};

use serde::{Deserialize, Serialize};

use crate::reference::sample::random_bits;

/// One tensor a model needs, by its place and not by any file's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Where in the model.
    pub place: Place,
    /// What it does there.
    pub role: Role,
    /// Its weight, its bias, or what goes with the weight.
    pub part: Part,
}

/// Where in the model a tensor belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The model as a whole: embedding, final norm, head; what the decoder's blocks share.
    Model,
    /// The encoder as a whole: its final norm, what its blocks share.
    Encoder,
    /// A block as a whole: what mixes residual streams around it.
    Block(usize),
    /// One of several residual streams.
    Stream(usize),
    /// A sub-layer, or a branch of one.
    SubLayer(SubLayerPlace),
    /// One expert of an expert sub-layer.
    Expert(SubLayerPlace, usize),
    /// The expert of an expert sub-layer that every token uses.
    SharedExpert(SubLayerPlace),
}

/// Which blocks, in the order in which they run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stack {
    /// Those of an encoder.
    Encoder,
    /// Those that lead to the head.
    #[default]
    Decoder,
}

impl Stack {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_decoder(&self) -> bool {
        *self == Self::Decoder
    }
}

/// A sub-layer, or a branch of a parallel one. Places are ordered as sub-layers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubLayerPlace {
    /// Whose block.
    #[serde(default, skip_serializing_if = "Stack::is_decoder")]
    pub stack: Stack,
    /// Index of the block.
    pub block: usize,
    /// Index in the block.
    pub sublayer: usize,
    /// Index among the branches of a parallel sub-layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<usize>,
}

/// What a tensor does. In a sub-layer with a [width](super::config::SubLayer::width) of its own, `d` is that width in all
/// but its norms and projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embedding, `[V, d]`.
    Embedding,
    /// What is added to the embedding by position, `[context_length, d]`.
    Positions,
    /// Table of the embeddings of each layer, `[V', L p]`: `p` columns for each sub-layer that reads one.
    LayerTable,
    /// Projection of the embedding to what each layer adds to its own, `[L p, d]`.
    LayerProjection,
    /// Norm of each layer's part of that projection, `[p]`.
    LayerInputNorm,
    /// The embedding's projection to a residual stream, `[d, d]`.
    StreamProjection,
    /// Projection of a residual stream for the head, `[d, d]`.
    StreamJoin,
    /// How streams predict one another, `[A A, A]`.
    Prediction,
    /// How they are corrected, `[A, A]`.
    Correction,
    /// Scale of what is read of the corrected active stream, `[d]`.
    StreamScale,
    /// Head, `[V, d]`.
    Head,
    /// The norm before the head, or an encoder's last, `[d]`.
    FinalNorm,
    /// The norm before a sub-layer, `[d]`.
    Norm,
    /// The norm after a sub-layer, `[d]`.
    PostNorm,
    /// What the residual stream is multiplied by after a sub-layer, `[1]`.
    OutputScale,
    /// Gate on a layer's own embedding, `[p, d]`.
    InputGate,
    /// Projection back from it, `[d, p]`.
    InputProjection,
    /// Projection to the width `w` of a sub-layer, `[w, d]`.
    ProjectIn,
    /// Projection back from it, `[d, w]`.
    ProjectOut,
    /// What is added to the scores of a stack's attention, by distance, `[buckets, H]`.
    RelativeBias,
    /// Query projection, `[H h, d]`.
    Q,
    /// Key projection, `[G h, d]`; of cross-attention it reads the encoder's output, and so does V's.
    K,
    /// Value projection, `[G h, d]`.
    V,
    /// Projection to the latent of queries, `[q, d]`; that of queries is then [`Role::Q`], `[H (n + r), q]`.
    QLatent,
    /// Norm of the latent of queries, `[q]`.
    QLatentNorm,
    /// Projection to the latent of keys and values and to the key that is rotated, `[c + r, d]`.
    KvLatent,
    /// Norm of the latent of keys and values, `[c]`.
    KvLatentNorm,
    /// Projection of latents to keys, `[H n, c]`.
    LatentK,
    /// Projection of latents to values, `[H v, c]`.
    LatentV,
    /// Output projection, `[d, H h]`.
    Out,
    /// Norm over each query head, `[h]`, or, with weights for each or over all of them, `[H h]`.
    QNorm,
    /// Norm over each key head, `[h]`, or, with weights for each or over all of them, `[G h]`.
    KNorm,
    /// The logit of each query head's sink, `[H]`.
    Sinks,
    /// Norm of what a router reads, of experts or of residual streams, `[d]`.
    RouterNorm,
    /// Router, `[E, d]`, or of residual streams `[A, d]`.
    Router,
    /// The spread of a router's noise, `[E, d]`.
    NoiseRouter,
    /// The router of groups of experts, `[groups, d]`.
    GroupRouter,
    /// The experts of each token id, `[V, k]`, or of each task, `[tasks, k]`, as whole numbers.
    ExpertTable,
    /// What is added to experts' scores for the choice, `[E]`.
    SelectionBias,
    /// What experts' weights are multiplied by, `[E]`.
    ExpertScale,
    /// The gate of the shared expert, `[1, d]`.
    SharedGate,
    /// The branch of a feed-forward network that the activation is applied to when it is gated, `[f, d]`.
    Gate,
    /// The other branch, or the only one, `[f, d]`.
    Up,
    /// The projection back, `[d, f]`.
    Down,
}

/// Weight or bias, or what quantizing the weight as OmniQuant does needs besides (arXiv 2308.13137). A checkpoint may
/// hold the latter beside any weight of a product; no model needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The weight.
    Weight,
    /// The bias.
    Bias,
    /// How far codes reach of the largest weight, `[N]` by output or `[N, blocks]`.
    Gamma,
    /// How far codes reach of the least weight, `[N]` by output or `[N, blocks]`.
    Beta,
    /// What is subtracted from the inputs, `[K]`.
    Delta,
    /// What the inputs are then divided by, `[K]`.
    Scale,
}

impl Place {
    /// A sub-layer.
    pub const fn sublayer(block: usize, sublayer: usize) -> Self {
        Self::SubLayer(SubLayerPlace { stack: Stack::Decoder, block, sublayer, branch: None })
    }

    /// The sub-layer, unless it is the model as a whole.
    pub const fn at(self) -> Option<SubLayerPlace> {
        match self {
            Self::Model | Self::Encoder | Self::Block(_) | Self::Stream(_) => None,
            Self::SubLayer(at) | Self::Expert(at, _) | Self::SharedExpert(at) => Some(at),
        }
    }

    /// The same place of another stack.
    #[must_use]
    pub const fn of(self, stack: Stack) -> Self {
        match self {
            Self::Model | Self::Encoder => match stack {
                Stack::Decoder => Self::Model,
                Stack::Encoder => Self::Encoder,
            },
            // An encoder has neither.
            Self::Block(_) | Self::Stream(_) => self,
            Self::SubLayer(at) => Self::SubLayer(SubLayerPlace { stack, ..at }),
            Self::Expert(at, expert) => Self::Expert(SubLayerPlace { stack, ..at }, expert),
            Self::SharedExpert(at) => Self::SharedExpert(SubLayerPlace { stack, ..at }),
        }
    }

    /// Whose place it is.
    pub const fn stack(self) -> Stack {
        match self {
            Self::Model | Self::Block(_) | Self::Stream(_) => Stack::Decoder,
            Self::Encoder => Stack::Encoder,
            Self::SubLayer(at) | Self::Expert(at, _) | Self::SharedExpert(at) => at.stack,
        }
    }

    /// The same sub-layer's branch; the model as a whole has none, and stays itself.
    #[must_use]
    pub fn branch(self, branch: usize) -> Self {
        self.at().map_or(self, |at| Self::SubLayer(SubLayerPlace { branch: Some(branch), ..at }))
    }

    /// An expert of the same sub-layer; the model as a whole stays itself.
    #[must_use]
    pub fn expert(self, expert: usize) -> Self {
        self.at().map_or(self, |at| Self::Expert(at, expert))
    }

    /// The expert of the same sub-layer that every token uses; the model as a whole stays itself.
    #[must_use]
    pub fn shared_expert(self) -> Self {
        self.at().map_or(self, Self::SharedExpert)
    }

    /// The seed of what is drawn at this place, from that of the whole model.
    pub fn seed(self, seed: u32) -> u32 {
        let Some(SubLayerPlace { stack, block, sublayer, branch }) = self.at() else { return seed };
        let block = block as u32 | if stack == Stack::Encoder { 1 << 31 } else { 0 };
        random_bits(seed, block, (sublayer << 8 | branch.map_or(0, |branch| branch + 1)) as u32)
    }

    /// What we call a part of the model at this place: a tensor of a native checkpoint, of device memory, of a pass.
    pub fn name(self, part: &str) -> String {
        match self {
            Self::Model => part.to_owned(),
            Self::Encoder => format!("encoder.{part}"),
            Self::Block(block) => format!("blocks.{block}.{part}"),
            Self::Stream(stream) => format!("streams.{stream}.{part}"),
            Self::SubLayer(SubLayerPlace { stack, block, sublayer, branch }) => {
                let branch = branch.map_or(String::new(), |branch| format!("branches.{branch}."));
                let stack = if stack == Stack::Encoder { "encoder." } else { "" };
                format!("{stack}blocks.{block}.sublayers.{sublayer}.{branch}{part}")
            }
            Self::Expert(at, expert) => Self::SubLayer(at).name(&format!("experts.{expert}.{part}")),
            Self::SharedExpert(at) => Self::SubLayer(at).name(&format!("shared_expert.{part}")),
        }
    }
}

impl Slot {
    /// The weight with this role at this place.
    pub fn weight(place: Place, role: Role) -> Self {
        Self { place, role, part: Part::Weight }
    }

    /// The bias with this role at this place.
    pub fn bias(place: Place, role: Role) -> Self {
        Self { place, role, part: Part::Bias }
    }

    /// The bias that goes with this weight.
    pub(crate) fn its_bias(self) -> Self {
        self.its(Part::Bias)
    }

    /// The part that goes with this weight.
    pub(crate) fn its(self, part: Part) -> Self {
        Self { part, ..self }
    }
}
