//! Which tensors a model needs.

use super::{Place, Role, Slot, Stack};
use crate::model::config::{
    Attention, Experts, FeedForward, LatentAttention, ModelConfig, Norm, NormKind, Op, Routing, Streams,
    SubLayer,
};

/// Every tensor that a model needs, with its shape, in the order of the forward pass.
pub fn slots(config: &ModelConfig) -> impl Iterator<Item = (Slot, Vec<usize>)> {
    let d = config.hidden_size as usize;
    let vocab = config.vocab_size as usize;
    let mut first = List::new(Place::Model, vocab);
    first.weight(Role::Embedding, vec![vocab, d]);
    first.weight_if(config.learned_positions, Role::Positions, vec![config.context_length as usize, d]);
    let mut last = List::new(Place::Model, vocab);
    last.norm(Role::FinalNorm, config.final_norm, d);
    if !config.head.tied {
        last.weight(Role::Head, vec![vocab, d]);
    }
    if config.head.bias {
        last.slots.push((Slot::bias(Place::Model, Role::Head), vec![vocab]));
    }
    if let Some(inputs) = config.layer_inputs {
        let p = inputs.width as usize;
        let all = p * config.layer_input_places().count();
        first.weight(Role::LayerTable, vec![inputs.vocab_size as usize, all]);
        first.weight(Role::LayerProjection, vec![all, d]);
        first.norm(Role::LayerInputNorm, inputs.norm, p);
    }
    let streams = config.streams;
    if let Some(streams) = streams {
        for stream in 1..streams.count as usize {
            first.at(Place::Stream(stream), |list| list.weight(Role::StreamProjection, vec![d, d]));
            last.at(Place::Stream(stream), |list| list.weight(Role::StreamJoin, vec![d, d]));
        }
    }
    let mut after_encoder = List::new(Place::Encoder, vocab);
    if let Some(encoder) = &config.encoder {
        after_encoder.norm(Role::FinalNorm, encoder.final_norm, d);
    }
    let input_width = config.layer_inputs.map_or(0, |inputs| inputs.width as usize);
    let of_sublayer = move |(place, sublayer): (Place, &SubLayer)| {
        let mut list = List::new(place, vocab);
        list.input_width = input_width;
        let begins = place.at().filter(|at| at.stack == Stack::Decoder && at.sublayer == 0);
        if let (Some(streams), Some(at)) = (streams, begins) {
            list.at(Place::Block(at.block), |list| list.mixing(&streams, d));
        }
        list.sublayer(sublayer, d);
        list.slots
    };
    let stack = move |stack: Stack| {
        let mut shared = List::new(Place::Model.of(stack), vocab);
        if let (Some(bias), Some(heads)) = (config.relative_bias_of(stack), config.biased_heads(stack)) {
            shared.weight(Role::RelativeBias, vec![bias.buckets as usize, heads as usize]);
        }
        shared.slots.into_iter().chain(config.sublayers_of(stack).flat_map(of_sublayer))
    };
    let encoder = stack(Stack::Encoder).chain(after_encoder.slots);
    first.slots.into_iter().chain(encoder).chain(stack(Stack::Decoder)).chain(last.slots)
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
    /// Width of each layer's own embedding, `p`.
    input_width: usize,
    slots: Vec<(Slot, Vec<usize>)>,
}

impl List {
    fn new(place: Place, vocab: usize) -> Self {
        Self { place, vocab, input_width: 0, slots: Vec::new() }
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

    fn mixing(&mut self, streams: &Streams, d: usize) {
        let count = streams.count as usize;
        self.norm(Role::RouterNorm, streams.norm, d);
        self.weight(Role::Router, vec![count, d]);
        self.weight(Role::Prediction, vec![count * count, count]);
        self.weight(Role::Correction, vec![count, count]);
        self.weight_if(streams.scaled, Role::StreamScale, vec![d]);
    }

    fn sublayer(&mut self, sublayer: &SubLayer, d: usize) {
        if let Some(norm) = sublayer.norm {
            self.norm(Role::Norm, norm, d);
        }
        match sublayer.width.map(|width| width as usize) {
            Some(width) => {
                self.linear(Role::ProjectIn, [width, d], false);
                self.op(&sublayer.op, width);
                self.linear(Role::ProjectOut, [d, width], false);
            }
            None => self.op(&sublayer.op, d),
        }
        if let Some(norm) = sublayer.post_norm {
            self.norm(Role::PostNorm, norm, d);
        }
        self.weight_if(sublayer.output_scale, Role::OutputScale, vec![1]);
    }

    fn op(&mut self, op: &Op, d: usize) {
        match op {
            Op::Attention(attention) | Op::CrossAttention(attention) => self.attention(attention, d),
            Op::LatentAttention(attention) => self.latent_attention(attention, d),
            Op::FeedForward(ffn) => self.feed_forward(ffn, d),
            Op::Experts(experts) => self.experts(experts, d),
            Op::LayerInput(_) => {
                self.linear(Role::InputGate, [self.input_width, d], false);
                self.linear(Role::InputProjection, [d, self.input_width], false);
            }
            Op::Parallel(branches) => {
                for (n, branch) in branches.iter().enumerate() {
                    self.at(self.place.branch(n), |list| list.sublayer(branch, d));
                }
            }
        }
    }

    fn attention(&mut self, attention: &Attention, d: usize) {
        let (q_rows, kv_rows) = (attention.q_rows() as usize, attention.kv_rows() as usize);
        self.linear(Role::Q, [q_rows, d], attention.qkv_bias);
        let has_keys = attention.kv_from.is_none();
        if has_keys {
            self.linear(Role::K, [kv_rows, d], attention.qkv_bias);
        }
        if has_keys && !attention.v_is_k {
            self.linear(Role::V, [kv_rows, d], attention.qkv_bias);
        }
        if let Some(norm) = attention.qk_norm {
            let [q_width, k_width] = attention.qk_norm_widths();
            self.norm(Role::QNorm, norm, q_width as usize);
            if has_keys {
                self.norm(Role::KNorm, norm, k_width as usize);
            }
        }
        self.weight_if(attention.sinks, Role::Sinks, vec![attention.heads as usize]);
        self.linear(Role::Out, [d, q_rows], attention.out_bias);
    }

    fn latent_attention(&mut self, attention: &LatentAttention, d: usize) {
        let rows = |rows: u32| rows as usize;
        let (latent, bias) = (rows(attention.kv_latent), attention.latent_bias);
        if let Some(width) = attention.q_latent.map(rows) {
            self.linear(Role::QLatent, [width, d], bias);
            self.norm(Role::QLatentNorm, attention.latent_norm, width);
        }
        let q_inputs = attention.q_latent.map_or(d, rows);
        self.linear(Role::Q, [rows(attention.q_rows()), q_inputs], false);
        self.linear(Role::KvLatent, [rows(attention.kv_rows()), d], bias);
        self.norm(Role::KvLatentNorm, attention.latent_norm, latent);
        self.linear(Role::LatentK, [rows(attention.k_rows()), latent], false);
        self.linear(Role::LatentV, [rows(attention.v_rows()), latent], false);
        self.linear(Role::Out, [d, rows(attention.v_rows())], attention.out_bias);
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
