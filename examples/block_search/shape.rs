//! Blocks as models: how large, how many experts, how often repeated.

use std::str::FromStr;

use wattle::model::config::{
    self, Attention, Capacity, Experts, FeedForward, GrantOrder, Head, ModelConfig, Norm, NormKind, Op, Rope,
    RopeLayout, RopeScaling, Routing, Share,
};
use wattle::model::parameters::Parameters;

use super::space::{Activation, Block, Choice, Gating, HIDDEN, Network, SubLayer, WIDTHS};

/// Tokens that a router may tell apart; the embedding is not counted.
pub const VOCAB: u32 = 1024;

const NORM: Norm = Norm { kind: NormKind::Rms, eps: 1e-6 };

/// What all models of a search share.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Multiplies the widths of the space.
    pub scale: Scale,
    /// Experts of each sparse sub-layer.
    pub experts: u32,
    /// How often a model repeats its block.
    pub repeats: u32,
    /// Tokens of a step.
    pub tokens: u32,
}

/// A fraction that leaves every width of the space whole: `1/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    times: u32,
    over: u32,
}

/// Parameters of a model, the embedding left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// All of them.
    pub total: u64,
    /// Those that a token uses on average.
    pub activated: u64,
}

impl Shape {
    /// A model of a block, with rotary positions and a norm before each sub-layer. Heads are as wide as they fit into the
    /// sub-layer, an even number and at least 2.
    pub fn model(&self, block: &Block) -> ModelConfig {
        let width = self.scale.of(block.width);
        let op = |sublayer: &SubLayer, width| match sublayer {
            SubLayer::Attention { heads } => Op::Attention(attention(*heads, head_dim(width, *heads))),
            SubLayer::FeedForward(network) => Op::FeedForward(self.network(network)),
            SubLayer::Experts(network, gating) => Op::Experts(self.experts(network, *gating)),
        };
        let sublayers = block.sublayers.iter().zip(block.own_widths).map(|(sublayer, own)| {
            let own = own.map(|own| self.scale.of(own));
            config::SubLayer { width: own, ..config::SubLayer::new(NORM, op(sublayer, own.unwrap_or(width))) }
        });
        let block = config::Block { sublayers: sublayers.collect() };
        ModelConfig {
            name: "block search".into(),
            vocab_size: VOCAB,
            hidden_size: width,
            context_length: self.tokens,
            encoder: None,
            relative_bias: None,
            embedding_scale: 1.0,
            learned_positions: false,
            layer_inputs: None,
            streams: None,
            blocks: vec![block; self.repeats as usize],
            final_norm: NORM,
            head: Head { tied: true, ..Head::default() },
        }
    }

    /// Counts the parameters of a model of a block.
    pub fn size(&self, block: &Block) -> Size {
        let mut model = self.model(block);
        let total = beside_embedding(Parameters::of(&model));
        for sublayer in model.blocks.iter_mut().flat_map(|block| &mut block.sublayers) {
            // What experts have no room for, tokens do not use.
            if let Op::Experts(Experts { top_k, capacity: Some(capacity), .. }) = &mut sublayer.op {
                *top_k = (*top_k).min(capacity.factor as u32);
            }
        }
        Size { total, activated: beside_embedding(Parameters::activated(&model)) }
    }

    fn network(&self, network: &Network) -> FeedForward {
        let activation = match network.activation {
            Activation::GatedRelu | Activation::Relu => config::Activation::Relu,
            Activation::GatedGelu | Activation::Gelu => config::Activation::GeluTanh,
        };
        let gated = network.activation.is_gated();
        FeedForward { gated, ..FeedForward::plain(self.scale.of(network.hidden), activation) }
    }

    fn experts(&self, network: &Network, gating: Gating) -> Experts {
        let (network, factor) = (self.network(network), gating.factor as f32);
        match gating.by {
            Choice::Top2 => {
                let capacity = Capacity { factor, share: Share::PerToken, order: GrantOrder::ChoiceMajor };
                let experts = Experts::new(self.experts, 2, Routing::softmax_topk(true), network);
                Experts { capacity: Some(capacity), ..experts }
            }
            Choice::Experts => Experts::new(self.experts, 1, Routing::ExpertChoice { factor }, network),
        }
    }
}

impl Size {
    /// The geometric mean of both, which stands in for quality and is none: of two models that take the same time, the one
    /// with more weights, and with more of them at work on each token, may learn more. Whether it does, training says.
    pub fn proxy(self) -> f64 {
        (self.total as f64 * self.activated as f64).sqrt()
    }
}

fn beside_embedding(parameters: Parameters) -> u64 {
    parameters.total() - parameters.embedding
}

/// Width of a head: `width / heads`, rounded down to an even number, at least 2.
pub fn head_dim(width: u32, heads: u32) -> u32 {
    (width / heads / 2 * 2).max(2)
}

fn attention(heads: u32, head_dim: u32) -> Attention {
    let rope = Rope {
        theta: 10_000.0,
        rotary_dim: head_dim,
        layout: RopeLayout::HalfSplit,
        scaling: RopeScaling::None,
    };
    let scale = f64::from(head_dim).sqrt().recip() as f32;
    Attention { heads, kv_heads: heads, head_dim, scale, rope: Some(rope), ..Attention::default() }
}

impl Scale {
    /// Widths of 32 to 64.
    pub const SIXTEENTH: Self = Self { times: 1, over: 16 };

    /// A width at this scale.
    pub fn of(self, width: u32) -> u32 {
        width * self.times / self.over
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (times, over) = text.split_once('/').unwrap_or((text, "1"));
        let number = |part: &str| part.trim().parse::<u32>().ok().filter(|n| (1..=1024).contains(n));
        let fraction = number(times).zip(number(over)).map(|(times, over)| Self { times, over });
        let keeps = |scale: &Self| {
            let mut widths = WIDTHS.iter().chain(&HIDDEN);
            widths.all(|width| (width * scale.times).is_multiple_of(scale.over))
        };
        fraction.filter(keeps).ok_or_else(|| {
            format!(
                "'{text}' is no fraction, such as 1/16, that leaves widths of {WIDTHS:?} and {HIDDEN:?} whole"
            )
        })
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.over {
            1 => write!(f, "{}", self.times),
            over => write!(f, "{}/{over}", self.times),
        }
    }
}
