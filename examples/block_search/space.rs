//! The search space of Brainformer (arXiv 2306.00008, section 4): blocks of eight sub-layers, in the sizes of its smallest
//! scale.

use std::fmt;

use super::random::Random;

/// Sub-layers of a block.
pub const SUBLAYERS: usize = 8;

/// Widths of the residual stream, and of sub-layers that have their own.
pub const WIDTHS: [u32; 3] = [512, 768, 1024];
/// Widths of one branch of a network, dense or an expert.
pub const HIDDEN: [u32; 4] = [1536, 2048, 3072, 4096];
/// Heads of attention.
pub const HEADS: [u32; 3] = [12, 16, 20];
const CHOICES: [Choice; 2] = [Choice::Top2, Choice::Experts];
const FACTORS: [u32; 4] = [1, 2, 3, 4];
const ACTIVATIONS: [Activation; 4] =
    [Activation::GatedRelu, Activation::GatedGelu, Activation::Relu, Activation::Gelu];

/// What is searched for: a model repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// One of [`WIDTHS`].
    pub width: u32,
    /// First to last.
    pub sublayers: [SubLayer; SUBLAYERS],
    /// Of each sub-layer the width of its own, another one of [`WIDTHS`]: dense projections lead to it and back.
    pub own_widths: [Option<u32>; SUBLAYERS],
}

/// A sub-layer and its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubLayer {
    /// Self-attention (`a`).
    Attention {
        /// One of [`HEADS`].
        heads: u32,
    },
    /// Dense feed-forward (`f`).
    FeedForward(Network),
    /// Sparse feed-forward (`g`): each expert is such a network.
    Experts(Network, Gating),
}

/// A feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// One of [`HIDDEN`].
    pub hidden: u32,
    /// Its activation, and whether it has a gate.
    pub activation: Activation,
}

/// Activations, and whether a second projection is multiplied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// ReGLU.
    GatedRelu,
    /// GEGLU.
    GatedGelu,
    /// ReLU.
    Relu,
    /// GELU.
    Gelu,
}

/// How tokens and experts find each other, and how many tokens an expert takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gating {
    /// Who chooses.
    pub by: Choice,
    /// The capacity factor, one of 1, 2, 3 and 4: an expert takes so many times `tokens / experts`, at the most where
    /// tokens choose, and exactly where experts do.
    pub factor: u32,
}

/// Who chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Each token two experts (GShard, arXiv 2006.16668).
    Top2,
    /// Each expert its tokens (arXiv 2202.09368).
    Experts,
}

/// The blocks that a search may propose.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Attention sub-layers that a block has at least. Parameters do not tell what attention is for, so that a search by
    /// them would leave it out.
    pub min_attention: usize,
    /// Whether sub-layers may have widths of their own.
    pub own_widths: bool,
}

impl Space {
    /// A block, all choices drawn.
    pub fn draw(self, random: &mut Random) -> Block {
        loop {
            let width = pick(random, &WIDTHS);
            let sublayers = std::array::from_fn(|_| SubLayer::draw(random));
            let mut block = Block { width, sublayers, own_widths: [None; SUBLAYERS] };
            if self.own_widths {
                (0..SUBLAYERS).for_each(|at| block.resize_one(at, pick(random, &WIDTHS)));
            }
            if self.has(&block) {
                return block;
            }
        }
    }

    /// A block with one change, and after each with one more in two of three cases: one alone seldom leads from a block that
    /// takes all the time there is to another that does.
    pub fn mutate(self, block: &Block, random: &mut Random) -> Block {
        loop {
            let mut child = *block;
            self.change(&mut child, random);
            while below(random, 3) > 0 {
                self.change(&mut child, random);
            }
            if child != *block && self.has(&child) {
                return child;
            }
        }
    }

    /// Draws one choice again: the width, the type of a sub-layer, a choice that this type has, or the sub-layer's own width.
    pub fn change(self, block: &mut Block, random: &mut Random) {
        let of_sublayers = if self.own_widths { 2 * SUBLAYERS } else { SUBLAYERS };
        match below(random, 1 + of_sublayers) {
            0 => block.resize(pick(random, &WIDTHS)),
            n if n <= SUBLAYERS => block.sublayers[n - 1].change(random),
            n => block.resize_one(n - 1 - SUBLAYERS, pick(random, &WIDTHS)),
        }
    }

    fn has(self, block: &Block) -> bool {
        let is_attention = |sublayer: &&SubLayer| matches!(sublayer, SubLayer::Attention { .. });
        block.sublayers.iter().filter(is_attention).count() >= self.min_attention
    }
}

impl Block {
    /// Another width; networks at it become as much narrower as it is wider, as far as there are such, so that the time of a
    /// step stays near what it was.
    fn resize(&mut self, width: u32) {
        for (sublayer, own) in self.sublayers.iter_mut().zip(self.own_widths) {
            if let (SubLayer::FeedForward(network) | SubLayer::Experts(network, _), None) = (sublayer, own) {
                let wanted = network.hidden * self.width / width;
                let nearest = HIDDEN.into_iter().min_by_key(|hidden| hidden.abs_diff(wanted));
                network.hidden = nearest.unwrap_or(wanted);
            }
        }
        self.width = width;
        self.own_widths = self.own_widths.map(|own| own.filter(|own| *own != width));
    }

    fn resize_one(&mut self, at: usize, width: u32) {
        self.own_widths[at] = Some(width).filter(|own| *own != self.width);
    }

    /// A letter for every sub-layer: `afagafag`.
    pub fn letters(&self) -> String {
        let letter = |sublayer: &SubLayer| match sublayer {
            SubLayer::Attention { .. } => 'a',
            SubLayer::FeedForward(_) => 'f',
            SubLayer::Experts(..) => 'g',
        };
        self.sublayers.iter().map(letter).collect()
    }
}

impl SubLayer {
    fn draw(random: &mut Random) -> Self {
        match below(random, 3) {
            0 => Self::Attention { heads: pick(random, &HEADS) },
            1 => Self::FeedForward(Network::draw(random)),
            _ => Self::Experts(Network::draw(random), Gating::draw(random)),
        }
    }

    fn of_another_type(&self, random: &mut Random) -> Self {
        loop {
            let drawn = Self::draw(random);
            if std::mem::discriminant(&drawn) != std::mem::discriminant(self) {
                return drawn;
            }
        }
    }

    /// Draws one choice again: the type, and then all that the new one has, or one that this type has.
    fn change(&mut self, random: &mut Random) {
        match self {
            Self::Attention { heads } => match below(random, 2) {
                0 => *self = self.of_another_type(random),
                _ => *heads = pick(random, &HEADS),
            },
            Self::FeedForward(network) => match below(random, 3) {
                0 => *self = self.of_another_type(random),
                _ => network.change(random),
            },
            Self::Experts(network, gating) => match below(random, 5) {
                0 => *self = self.of_another_type(random),
                1 => gating.by = pick(random, &CHOICES),
                2 => gating.factor = pick(random, &FACTORS),
                _ => network.change(random),
            },
        }
    }
}

impl Gating {
    fn draw(random: &mut Random) -> Self {
        Self { by: pick(random, &CHOICES), factor: pick(random, &FACTORS) }
    }
}

impl Network {
    fn draw(random: &mut Random) -> Self {
        Self { hidden: pick(random, &HIDDEN), activation: pick(random, &ACTIVATIONS) }
    }

    fn change(&mut self, random: &mut Random) {
        match below(random, 2) {
            0 => self.hidden = pick(random, &HIDDEN),
            _ => self.activation = pick(random, &ACTIVATIONS),
        }
    }
}

impl Activation {
    /// Whether a second projection is multiplied in.
    pub fn is_gated(self) -> bool {
        matches!(self, Self::GatedRelu | Self::GatedGelu)
    }
}

/// One of `0..count`; of a count far below 2^64 all are as likely.
pub fn below(random: &mut Random, count: usize) -> usize {
    (random.bits() % count as u64) as usize
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[below(random, choices.len())]
}

/// `768: a12 f3072.geglu a12@512 g3072.gelu.top2x2 …`, with an own width behind `@`.
impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.width)?;
        self.sublayers.iter().zip(self.own_widths).try_for_each(|(sublayer, own)| {
            match sublayer {
                SubLayer::Attention { heads } => write!(f, " a{heads}"),
                SubLayer::FeedForward(network) => write!(f, " f{network}"),
                SubLayer::Experts(network, gating) => write!(f, " g{network}.{gating}"),
            }?;
            own.map_or(Ok(()), |own| write!(f, "@{own}"))
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let activation = match self.activation {
            Activation::GatedRelu => "reglu",
            Activation::GatedGelu => "geglu",
            Activation::Relu => "relu",
            Activation::Gelu => "gelu",
        };
        write!(f, "{}.{activation}", self.hidden)
    }
}

/// `top2x1`, or `ecx1` where experts choose.
impl fmt::Display for Gating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            Choice::Top2 => "top2",
            Choice::Experts => "ec",
        };
        write!(f, "{by}x{}", self.factor)
    }
}
