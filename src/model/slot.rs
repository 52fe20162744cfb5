//! The places in a model that a checkpoint fills.

use crate::model::config::{Attention, Experts, FeedForward, ModelConfig, Norm, NormKind, Op, SubLayer};

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
    /// The model as a whole: embedding, final norm, head.
    Model,
    /// A sub-layer.
    SubLayer {
        /// Index of the block.
        block: usize,
        /// Index in the block.
        sublayer: usize,
    },
    /// One expert of an expert sub-layer.
    Expert {
        /// Index of the block.
        block: usize,
        /// Index in the block.
        sublayer: usize,
        /// Index of the expert.
        expert: usize,
    },
}

/// What a tensor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embedding, `[V, d]`.
    Embedding,
    /// Head, `[V, d]`.
    Head,
    /// The norm before the head, `[d]`.
    FinalNorm,
    /// The norm before a sub-layer, `[d]`.
    Norm,
    /// The norm after a sub-layer, `[d]`.
    PostNorm,
    /// Query projection, `[H h, d]`.
    Q,
    /// Key projection, `[G h, d]`.
    K,
    /// Value projection, `[G h, d]`.
    V,
    /// Output projection, `[d, H h]`.
    Out,
    /// Norm over each query head, `[h]`.
    QNorm,
    /// Norm over each key head, `[h]`.
    KNorm,
    /// Router, `[E, d]`.
    Router,
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
    /// The place of an expert of this sub-layer; the model as a whole has none, and stays itself.
    pub fn expert(self, expert: usize) -> Self {
        match self {
            Self::Model => self,
            Self::SubLayer { block, sublayer } | Self::Expert { block, sublayer, .. } => {
                Self::Expert { block, sublayer, expert }
            }
        }
    }

    /// What we call a part of the model at this place: a tensor of a native checkpoint, of device memory, of a pass.
    pub fn name(self, part: &str) -> String {
        match self {
            Self::Model => part.to_owned(),
            Self::SubLayer { block, sublayer } => format!("blocks.{block}.sublayers.{sublayer}.{part}"),
            Self::Expert { block, sublayer, expert } => {
                Self::SubLayer { block, sublayer }.name(&format!("experts.{expert}.{part}"))
            }
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

/// Every tensor that a model needs, with its shape, in the order of the forward pass.
pub fn slots(config: &ModelConfig) -> impl Iterator<Item = (Slot, Vec<usize>)> {
    let d = config.hidden_size as usize;
    let table = vec![config.vocab_size as usize, d];
    let mut first = List::new(Place::Model);
    first.weight(Role::Embedding, table.clone());
    let mut last = List::new(Place::Model);
    last.norm(Role::FinalNorm, config.final_norm, d);
    if !config.head.tied {
        last.weight(Role::Head, table);
    }
    let between = config.sublayers().flat_map(move |(block, index, sublayer)| {
        let mut list = List::new(Place::SubLayer { block, sublayer: index });
        list.sublayer(sublayer, d);
        list.slots
    });
    first.slots.into_iter().chain(between).chain(last.slots)
}

/// A list of slots that grows at one place at a time.
struct List {
    place: Place,
    slots: Vec<(Slot, Vec<usize>)>,
}

impl List {
    fn new(place: Place) -> Self {
        Self { place, slots: Vec::new() }
    }

    fn weight(&mut self, role: Role, shape: Vec<usize>) {
        self.slots.push((Slot::weight(self.place, role), shape));
    }

    fn linear(&mut self, role: Role, [outputs, inputs]: [usize; 2], bias: bool) {
        self.weight(role, vec![outputs, inputs]);
        if bias {
            self.slots.push((Slot::bias(self.place, role), vec![outputs]));
        }
    }

    fn norm(&mut self, role: Role, norm: Norm, width: usize) {
        self.weight(role, vec![width]);
        if norm.kind == NormKind::LayerNormBias {
            self.slots.push((Slot::bias(self.place, role), vec![width]));
        }
    }

    fn sublayer(&mut self, sublayer: &SubLayer, d: usize) {
        self.norm(Role::Norm, sublayer.norm, d);
        match &sublayer.op {
            Op::Attention(attention) => self.attention(attention, d),
            Op::FeedForward(ffn) => self.feed_forward(ffn, d),
            Op::Experts(experts) => self.experts(experts, d),
        }
        if let Some(norm) = sublayer.post_norm {
            self.norm(Role::PostNorm, norm, d);
        }
    }

    fn attention(&mut self, attention: &Attention, d: usize) {
        let (q_rows, kv_rows) = (attention.q_rows() as usize, attention.kv_rows() as usize);
        self.linear(Role::Q, [q_rows, d], attention.qkv_bias);
        self.linear(Role::K, [kv_rows, d], attention.qkv_bias);
        self.linear(Role::V, [kv_rows, d], attention.qkv_bias);
        if let Some(norm) = attention.qk_norm {
            self.norm(Role::QNorm, norm, attention.head_dim as usize);
            self.norm(Role::KNorm, norm, attention.head_dim as usize);
        }
        self.linear(Role::Out, [d, q_rows], attention.out_bias);
    }

    fn feed_forward(&mut self, ffn: &FeedForward, d: usize) {
        let hidden = ffn.hidden as usize;
        if ffn.gated {
            self.linear(Role::Gate, [hidden, d], ffn.bias);
        }
        self.linear(Role::Up, [hidden, d], ffn.bias);
        self.linear(Role::Down, [d, hidden], ffn.bias);
    }

    fn experts(&mut self, experts: &Experts, d: usize) {
        let router = self.place;
        self.weight(Role::Router, vec![experts.count as usize, d]);
        for expert in 0..experts.count as usize {
            self.place = router.expert(expert);
            self.feed_forward(&experts.expert, d);
        }
        self.place = router;
    }
}
