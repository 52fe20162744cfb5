//! One layer, and what runs through it.

use wattle::model::config::{
    Activation, Block, Capacity, ExpertGroups, Experts, FeedForward, GrantOrder, GroupScore, Head,
    Hierarchical, Later, ModelConfig, Norm, NormKind, Op, Routing, Score, Share, SubLayer, Topk,
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
    /// The same with noise on the logits, as trained.
    Noisy,
    /// The same, and a second choice counts from so much of the first one's weight on.
    Threshold(f32),
    /// Each chooses, by sigmoid and biases.
    Sigmoid,
    /// By sigmoid, within half of so many groups of neighbours.
    Groups(u32),
    /// Two of so many groups first, each of which has a router.
    Hierarchical(u32),
    /// The best, and the best of the others, softmax over those that are near it.
    SparseMixer,
    /// Experts choose, so many to a token on average.
    Chosen(f32),
    /// Balanced in so many rounds, as trained.
    Sinkhorn(u32),
    /// Balanced by an auction, as trained.
    Base,
    /// By a table over tokens.
    Hash,
    /// By one of so many tasks.
    Task(u32),
    /// By position.
    Random,
}

impl Way {
    fn title(self) -> String {
        match self {
            Self::Best => String::new(),
            Self::Limited(factor) => format!(", at most {factor}"),
            Self::Noisy => ", noisy".into(),
            Self::Threshold(share) => format!(", second from {share}"),
            Self::Sigmoid => ", sigmoid".into(),
            Self::Groups(groups) => format!(", of {groups} groups"),
            Self::Hierarchical(groups) => format!(", 2 of {groups} first"),
            Self::SparseMixer => ", sparse mixer".into(),
            Self::Chosen(factor) => format!(", chosen {factor}"),
            Self::Sinkhorn(rounds) => format!(", Sinkhorn {rounds}"),
            Self::Base => ", BASE".into(),
            Self::Hash => ", hash".into(),
            Self::Task(tasks) => format!(", {tasks} tasks"),
            Self::Random => ", random".into(),
        }
    }

    fn routing(self) -> Routing {
        let topk = |score| Topk { renormalize: true, ..Topk::of(score) };
        match self {
            Self::Best | Self::Limited(_) => Routing::softmax_topk(true),
            Self::Noisy => Routing::Topk(Topk { noise: true, ..topk(Score::Softmax) }),
            Self::Threshold(share) => {
                Routing::Topk(Topk { later: Later::AtLeast { share }, ..topk(Score::Softmax) })
            }
            Self::Sigmoid => Routing::Topk(Topk { selection_bias: true, ..topk(Score::Sigmoid) }),
            Self::Groups(count) => {
                let groups = ExpertGroups { count, limit: count / 2, score: GroupScore::TwoBest };
                Routing::Topk(Topk { groups: Some(groups), selection_bias: true, ..topk(Score::Sigmoid) })
            }
            Self::Hierarchical(groups) => Routing::Hierarchical(Hierarchical { groups, top_groups: 2 }),
            Self::SparseMixer => Routing::SparseMixer { jitter: 0.01 },
            Self::Chosen(factor) => Routing::ExpertChoice { factor },
            Self::Sinkhorn(iterations) => Routing::Sinkhorn { iterations },
            Self::Base => Routing::Base { epsilon: 1e-3 },
            Self::Hash => Routing::Hash,
            Self::Task(tasks) => Routing::Task { tasks },
            Self::Random => Routing::Random { seed: 1 },
        }
    }
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
    /// The same with so many experts, of which a token has some.
    pub fn by(&self, count: u32, top_k: u32, way: Way) -> Self {
        Self { kind: Kind::Experts { count, top_k, way }, ..*self }
    }

    /// The same rows through one network: as many as experts have together.
    pub fn beside(&self) -> Self {
        let rows = match self.kind {
            Kind::Dense => self.rows,
            // Each takes one at least.
            Kind::Experts { way: Way::Chosen(factor), count, .. } => {
                ((factor * self.rows as f32) as u32).max(count)
            }
            Kind::Experts { top_k, .. } => self.rows.saturating_mul(top_k),
        };
        Self { kind: Kind::Dense, rows, ..*self }
    }

    /// Whether tokens are routed as in training, which is what the way is for.
    pub fn is_trained(&self) -> bool {
        matches!(self.kind, Kind::Experts { way: Way::Noisy | Way::Sinkhorn(_) | Way::Base, .. })
    }

    pub fn title(&self) -> String {
        let Self { width, hidden, .. } = self;
        match self.kind {
            Kind::Dense => format!("dense {width} x {hidden}"),
            Kind::Experts { count, top_k, way } => {
                format!("{top_k} of {count}, {width} x {hidden}{}", way.title())
            }
        }
    }

    pub fn config(&self) -> ModelConfig {
        let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
        let network = FeedForward::gated(self.hidden, Activation::Silu);
        let op = match self.kind {
            Kind::Dense => Op::FeedForward(network),
            Kind::Experts { count, top_k, way } => {
                let (share, order) = (Share::PerChoice, GrantOrder::ChoiceMajor);
                let capacity = match way {
                    Way::Limited(factor) => Some(Capacity { factor, share, order }),
                    _ => None,
                };
                let experts = Experts::new(count, top_k, way.routing(), network);
                Op::Experts(Experts { capacity, ..experts })
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
