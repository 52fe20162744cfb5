//! The places in a model that a checkpoint fills.

use crate::model::config::{
    Attention, Experts, FeedForward, ModelConfig, Norm, NormKind, Op, Routing, SubLayer,
};
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
    /// The model as a whole: embedding, final norm, head.
    Model,
    /// A sub-layer, or a branch of one.
    SubLayer(SubLayerPlace),
    /// One expert of an expert sub-layer.
    Expert(SubLayerPlace, usize),
    /// The expert of an expert sub-layer that every token uses.
    SharedExpert(SubLayerPlace),
}

/// A sub-layer, or a branch of a parallel one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubLayerPlace {
    /// Index of the block.
    pub block: usize,
    /// Index in the block.
    pub sublayer: usize,
    /// Index among the branches of a parallel sub-layer.
    pub branch: Option<usize>,
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
    /// What the residual stream is multiplied by after a sub-layer, `[1]`.
    OutputScale,
    /// Query projection, `[H h, d]`.
    Q,
    /// Key projection, `[G h, d]`; of cross-attention it reads the encoder's output, and so does V's.
    K,
    /// Value projection, `[G h, d]`.
    V,
    /// Output projection, `[d, H h]`.
    Out,
    /// Norm over each query head, `[h]`, or over all of them, `[H h]`.
    QNorm,
    /// Norm over each key head, `[h]`, or over all of them, `[K h]`.
    KNorm,
    /// The logit of each query head's sink, `[H]`.
    Sinks,
    /// Norm of what a router reads, `[d]`.
    RouterNorm,
    /// Router, `[E, d]`.
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
        Self::SubLayer(SubLayerPlace { block, sublayer, branch: None })
    }

    /// The sub-layer, unless it is the model as a whole.
    pub const fn at(self) -> Option<SubLayerPlace> {
        match self {
            Self::Model => None,
            Self::SubLayer(at) | Self::Expert(at, _) | Self::SharedExpert(at) => Some(at),
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
        let Some(SubLayerPlace { block, sublayer, branch }) = self.at() else { return seed };
        random_bits(seed, block as u32, (sublayer << 8 | branch.map_or(0, |branch| branch + 1)) as u32)
    }

    /// What we call a part of the model at this place: a tensor of a native checkpoint, of device memory, of a pass.
    pub fn name(self, part: &str) -> String {
        match self {
            Self::Model => part.to_owned(),
            Self::SubLayer(SubLayerPlace { block, sublayer, branch }) => {
                let branch = branch.map_or(String::new(), |branch| format!("branches.{branch}."));
                format!("blocks.{block}.sublayers.{sublayer}.{branch}{part}")
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

/// Every tensor that a model needs, with its shape, in the order of the forward pass.
pub fn slots(config: &ModelConfig) -> impl Iterator<Item = (Slot, Vec<usize>)> {
    let d = config.hidden_size as usize;
    let vocab = config.vocab_size as usize;
    let mut first = List::new(Place::Model, vocab);
    first.weight(Role::Embedding, vec![vocab, d]);
    let mut last = List::new(Place::Model, vocab);
    last.norm(Role::FinalNorm, config.final_norm, d);
    if !config.head.tied {
        last.weight(Role::Head, vec![vocab, d]);
    }
    if config.head.bias {
        last.slots.push((Slot::bias(Place::Model, Role::Head), vec![vocab]));
    }
    let between = config.sublayers().flat_map(move |(block, index, sublayer)| {
        let mut list = List::new(Place::sublayer(block, index), vocab);
        list.sublayer(sublayer, d);
        list.slots
    });
    first.slots.into_iter().chain(between).chain(last.slots)
}

/// What stands in the matrix of an expert sub-layer's router, one below the other, with its rows: logits of experts, the
/// gate of the shared expert, spreads of noise, logits of groups.
pub fn router_parts(experts: &Experts) -> Vec<(Role, u32)> {
    let logits = experts.routing.has_router().then_some((Role::Router, experts.count));
    let is_gated = experts.shared.is_some_and(|shared| shared.gated);
    let gate = is_gated.then_some((Role::SharedGate, 1));
    let is_noisy = experts.routing.topk().is_some_and(|topk| topk.noise);
    let noise = is_noisy.then_some((Role::NoiseRouter, experts.count));
    let groups = match experts.routing {
        Routing::Hierarchical(rule) => Some((Role::GroupRouter, rule.groups)),
        _ => None,
    };
    [logits, gate, noise, groups].into_iter().flatten().collect()
}

/// Where a part begins in the router's outputs; where it lacks it, its end.
pub fn router_offset(experts: &Experts, role: Role) -> u32 {
    router_parts(experts).iter().take_while(|(part, _)| *part != role).map(|(_, rows)| rows).sum()
}

/// A list of slots that grows at one place at a time.
struct List {
    place: Place,
    vocab: usize,
    slots: Vec<(Slot, Vec<usize>)>,
}

impl List {
    fn new(place: Place, vocab: usize) -> Self {
        Self { place, vocab, slots: Vec::new() }
    }

    fn weight(&mut self, role: Role, shape: Vec<usize>) {
        self.slots.push((Slot::weight(self.place, role), shape));
    }

    fn weight_if(&mut self, is_there: bool, role: Role, shape: Vec<usize>) {
        if is_there {
            self.weight(role, shape);
        }
    }

    fn linear(&mut self, role: Role, [outputs, inputs]: [usize; 2], bias: bool) {
        self.weight(role, vec![outputs, inputs]);
        if bias {
            self.slots.push((Slot::bias(self.place, role), vec![outputs]));
        }
    }

    fn norm(&mut self, role: Role, norm: Norm, width: usize) {
        self.weight_if(norm.kind.has_weight(), role, vec![width]);
        if norm.kind == NormKind::LayerNormBias {
            self.slots.push((Slot::bias(self.place, role), vec![width]));
        }
    }

    /// Adds what another place needs, and comes back.
    fn at(&mut self, place: Place, add: impl FnOnce(&mut Self)) {
        let here = std::mem::replace(&mut self.place, place);
        add(self);
        self.place = here;
    }

    fn sublayer(&mut self, sublayer: &SubLayer, d: usize) {
        if let Some(norm) = sublayer.norm {
            self.norm(Role::Norm, norm, d);
        }
        match &sublayer.op {
            Op::Attention(attention) | Op::CrossAttention(attention) => self.attention(attention, d),
            Op::FeedForward(ffn) => self.feed_forward(ffn, d),
            Op::Experts(experts) => self.experts(experts, d),
            Op::Parallel(branches) => {
                for (n, branch) in branches.iter().enumerate() {
                    self.at(self.place.branch(n), |list| list.sublayer(branch, d));
                }
            }
        }
        if let Some(norm) = sublayer.post_norm {
            self.norm(Role::PostNorm, norm, d);
        }
        self.weight_if(sublayer.output_scale, Role::OutputScale, vec![1]);
    }

    fn attention(&mut self, attention: &Attention, d: usize) {
        let (q_rows, kv_rows) = (attention.q_rows() as usize, attention.kv_rows() as usize);
        self.linear(Role::Q, [q_rows, d], attention.qkv_bias);
        self.linear(Role::K, [kv_rows, d], attention.qkv_bias);
        if !attention.v_is_k {
            self.linear(Role::V, [kv_rows, d], attention.qkv_bias);
        }
        if let Some(norm) = attention.qk_norm {
            let [q_width, k_width] = attention.qk_norm_widths();
            self.norm(Role::QNorm, norm, q_width as usize);
            self.norm(Role::KNorm, norm, k_width as usize);
        }
        self.weight_if(attention.sinks, Role::Sinks, vec![attention.heads as usize]);
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
        let count = experts.count as usize;
        if let Some(norm) = experts.router_norm {
            self.norm(Role::RouterNorm, norm, d);
        }
        for (role, rows) in router_parts(experts) {
            self.linear(role, [rows as usize, d], experts.router_bias && role == Role::Router);
        }
        if let Some(rows) = experts.routing.table_rows(self.vocab as u32) {
            self.weight(Role::ExpertTable, vec![rows as usize, experts.top_k as usize]);
        }
        if let Routing::Topk(topk) = experts.routing {
            self.weight_if(topk.selection_bias, Role::SelectionBias, vec![count]);
            self.weight_if(topk.expert_scale, Role::ExpertScale, vec![count]);
        }
        if let Some(shared) = experts.shared {
            self.at(self.place.shared_expert(), |list| list.feed_forward(&shared.expert, d));
        }
        for expert in 0..count {
            self.at(self.place.expert(expert), |list| list.feed_forward(&experts.expert, d));
        }
    }
}
