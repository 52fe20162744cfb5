//! One layer, and what runs through it.

use wattle::model::config::{
    Activation, Block, Capacity, Experts, FeedForward, GrantOrder, Head, ModelConfig, Norm, NormKind, Op,
    Routing, Share, SubLayer,
};
use wattle::quant::WeightFormat;

/// Rows of the table of embeddings.
pub const VOCAB: u32 = 4096;

/// A layer, and what runs through it.
#[derive(Clone, Copy)]
pub struct Layer {
    pub kind: Kind,
    /// Width of the residual stream.
    pub width: u32,
    /// Width of one branch of an expert.
    pub hidden: u32,
    pub rows: u32,
    pub tokens: Tokens,
    pub format: WeightFormat,
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// One network.
    Dense,
    /// Networks of which each token has some.
    Experts { count: u32, top_k: u32, way: Way },
}

/// How tokens find experts.
#[derive(Clone, Copy)]
pub enum Way {
    /// Each chooses, by softmax.
    Best,
    /// The same, and an expert takes no more than so many times its even share.
    Limited(f32),
    /// Experts choose, so many to a token on average.
    Chosen(f32),
    /// By one of so many tasks.
    Task(u32),
}

/// Which tokens there are. A token's experts are a function of the token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// Any of them, so that experts are used alike.
    Random,
    /// A few, some far more often than others.
    Skewed,
    /// One, so that all rows go to the same experts.
    Alike,
}

impl Tokens {
    pub fn title(self, rows: u32) -> String {
        match self {
            Self::Random => rows.to_string(),
            Self::Skewed => format!("{rows} skewed"),
            Self::Alike => format!("{rows} alike"),
        }
    }

    pub fn draw(self, rows: u32) -> Vec<u32> {
        let mut state = 1u64;
        let mut any = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let token = |_| match self {
            Self::Random => any() % VOCAB,
            // The number of trailing zeros of a random number is 0 half of the time, 1 a quarter of it, and so on.
            Self::Skewed => any().trailing_zeros(),
            Self::Alike => 7,
        };
        (0..rows).map(token).collect()
    }
}

impl Layer {
    pub fn title(&self) -> String {
        let Self { width, hidden, .. } = self;
        match self.kind {
            Kind::Dense => format!("dense {width} x {hidden}"),
            Kind::Experts { count, top_k, way } => {
                let way = match way {
                    Way::Best => String::new(),
                    Way::Limited(factor) => format!(", at most {factor}"),
                    Way::Chosen(factor) => format!(", chosen {factor}"),
                    Way::Task(tasks) => format!(", {tasks} tasks"),
                };
                format!("{top_k} of {count}, {width} x {hidden}{way}")
            }
        }
    }

    pub fn config(&self) -> ModelConfig {
        let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
        let network = FeedForward::gated(self.hidden, Activation::Silu);
        let op = match self.kind {
            Kind::Dense => Op::FeedForward(network),
            Kind::Experts { count, top_k, way } => {
                let routing = match way {
                    Way::Best | Way::Limited(_) => Routing::softmax_topk(true),
                    Way::Chosen(factor) => Routing::ExpertChoice { factor },
                    Way::Task(tasks) => Routing::Task { tasks },
                };
                let (share, order) = (Share::PerChoice, GrantOrder::ChoiceMajor);
                let capacity = match way {
                    Way::Limited(factor) => Some(Capacity { factor, share, order }),
                    Way::Best | Way::Chosen(_) | Way::Task(_) => None,
                };
                Op::Experts(Experts { capacity, ..Experts::new(count, top_k, routing, network) })
            }
        };
        ModelConfig {
            name: self.title(),
            vocab_size: VOCAB,
            hidden_size: self.width,
            context_length: self.rows + 1,
            encoder: None,
            relative_bias: None,
            embedding_scale: 1.0,
            learned_positions: false,
            layer_inputs: None,
            streams: None,
            blocks: vec![Block { sublayers: vec![SubLayer::new(norm, op)] }],
            final_norm: norm,
            head: Head { tied: true, ..Head::default() },
        }
    }
}
