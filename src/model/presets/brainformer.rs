//! Brainformer: blocks found by search (arXiv 2306.00008).
//!
//! The paper has its blocks as a picture. These are the ones whose counts of parameters are nearest to its table 3,
//! with a vocabulary of 32 000 whose table is also the head.

use super::orders;
use super::shape::{RMS, Shape};
use crate::model::config::{Activation, Experts, FeedForward, ModelConfig, Routing};
use crate::model::layout_string::Letters;

/// Brainformer-1 1B/64E: 29.94 billion parameters, 1.402 billion used (published: 30, 1.38).
pub fn brainformer1_1b_64e() -> ModelConfig {
    brainformer1("brainformer1-1b-64e", ONE_B)
}

/// Brainformer-1 8B/64E: 159.5 billion parameters, 7.25 billion used (published: 158, 7.4).
pub fn brainformer1_8b_64e() -> ModelConfig {
    brainformer1("brainformer1-8b-64e", EIGHT_B)
}

/// Brainformer-2 100M/32E: 3.31 billion parameters, 0.288 billion used (published: 3.33, 0.266).
pub fn brainformer2_100m_32e() -> ModelConfig {
    brainformer2("brainformer2-100m-32e", HUNDRED_M)
}

/// Brainformer-2 1B/64E: 52.04 billion parameters (published: 52). With one expert a token it uses 1.302 billion
/// (published: 1.31), with the two that its experts choose on average 2.107.
pub fn brainformer2_1b_64e() -> ModelConfig {
    brainformer2("brainformer2-1b-64e", ONE_B)
}

/// The six sub-layers of [`orders::BRAINFORMER_SIX`], of the sizes of [`brainformer1_1b_64e`]. No paper has it.
pub fn brainformer_six_1b_64e() -> ModelConfig {
    ONE_B.stack("brainformer-six-1b-64e", orders::BRAINFORMER_SIX, &ONE_B.first())
}

/// What grows from one scale to the next.
#[derive(Clone, Copy)]
struct Scale {
    /// Multiplies every width.
    times: u32,
    /// How often the block is there.
    blocks: usize,
    experts: u32,
}

const HUNDRED_M: Scale = Scale { times: 1, blocks: 3, experts: 32 };
const ONE_B: Scale = Scale { times: 2, blocks: 6, experts: 64 };
const EIGHT_B: Scale = Scale { times: 4, blocks: 8, experts: 64 };

fn brainformer1(name: &str, scale: Scale) -> ModelConfig {
    scale.stack(name, orders::BRAINFORMER_1, &scale.first())
}

fn brainformer2(name: &str, scale: Scale) -> ModelConfig {
    let dense = FeedForward::gated(1536 * scale.times, Activation::GeluTanh);
    let expert = FeedForward::plain(4096 * scale.times, Activation::GeluTanh);
    scale.stack(name, orders::BRAINFORMER_2, &scale.letters(dense, 2.0, expert))
}

impl Scale {
    fn shape(self) -> Shape {
        let (d, heads) = (1024 * self.times, 16 * self.times);
        Shape { d, heads, kv_heads: heads, head_dim: 64, vocab: 32_000, context: 1024 }
    }

    /// What the letters of the first block stand for.
    fn first(self) -> Letters {
        let dense = FeedForward::gated(3072 * self.times, Activation::GeluTanh);
        let expert = FeedForward::gated(2048 * self.times, Activation::GeluTanh);
        self.letters(dense, 1.0, expert)
    }

    /// Experts choose their tokens, so many for a token on average.
    fn letters(self, dense: FeedForward, factor: f32, expert: FeedForward) -> Letters {
        let routing = Routing::ExpertChoice { factor };
        Letters {
            norm: Some(RMS),
            attention: Some(self.shape().unrotated()),
            feed_forward: Some(dense),
            experts: Some(Experts::new(self.experts, 1, routing, expert)),
            ..Letters::default()
        }
    }

    fn stack(self, name: &str, order: &str, letters: &Letters) -> ModelConfig {
        self.shape().tied(name, letters, vec![order; self.blocks])
    }
}
