//! Layout strings: the sub-layers of a block as letters, in order.
//!
//! | letter | stands for |
//! |---|---|
//! | `a` | attention |
//! | `f` | a dense feed-forward network |
//! | `g` | experts |
//! | `c` | cross-attention |
//! | `(af)` | letters side by side: all read the same norm, and what they give is added |
//!
//! A string is an order and nothing else: the numbers come from [`Letters`]. Another order needs no other kernel.
//! [`presets::orders`](super::presets::orders) has those of published models.
//!
//! ```
//! use wattle::model::config::{Activation, Attention, FeedForward, Norm, NormKind};
//! use wattle::model::layout_string::Letters;
//!
//! # fn main() -> wattle::Result<()> {
//! let letters = Letters {
//!     norm: Some(Norm { kind: NormKind::Rms, eps: 1e-6 }),
//!     attention: Some(Attention { heads: 8, kv_heads: 2, head_dim: 64, scale: 0.125, ..Attention::default() }),
//!     feed_forward: Some(FeedForward::gated(1536, Activation::Silu)),
//!     ..Letters::default()
//! };
//! let block = letters.block("aff(af)")?;
//! assert_eq!(block.sublayers.len(), 4);
//! assert_eq!(block.layout_string(), "aff(af)");
//!
//! let error = letters.block("agf").unwrap_err().to_string();
//! assert!(error.contains("'g' at position 1"), "{error}");
//! # Ok(())
//! # }
//! ```

use super::config::{Attention, Block, Experts, FeedForward, Norm, Op, SubLayer};
use crate::{Error, Result};

/// What the letters of layout strings stand for in a model. A letter without a description cannot be used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Letters {
    /// The norm before every sub-layer, one for all branches of a group.
    pub norm: Option<Norm>,
    /// The norm after every sub-layer, one for the sum of a group.
    pub post_norm: Option<Norm>,
    /// `a`.
    pub attention: Option<Attention>,
    /// `f`.
    pub feed_forward: Option<FeedForward>,
    /// `g`.
    pub experts: Option<Experts>,
    /// `c`.
    pub cross_attention: Option<Attention>,
}

impl Letters {
    /// The block with these sub-layers. Whether their numbers fit together is left to
    /// [`ModelConfig::validate`](super::config::ModelConfig::validate).
    ///
    /// # Errors
    /// [`Error::Config`] with the string, what was found and its position, counted from 0: a letter that is unknown or
    /// stands for nothing here; a group that is empty, within another, or without its other parenthesis; no letters at
    /// all.
    pub fn block(&self, string: &str) -> Result<Block> {
        let mut sublayers = Vec::new();
        let mut group: Option<Vec<SubLayer>> = None;
        for (position, letter) in string.chars().enumerate() {
            let refuse = |expected: &str| {
                Err(Error::config(string, expected, format!("'{letter}' at position {position}")))
            };
            group = match (letter, group) {
                ('(', None) => Some(Vec::new()),
                ('(', Some(_)) => return refuse("no group within another"),
                (')', None) => return refuse("a '(' before it"),
                (')', Some(branches)) if branches.is_empty() => return refuse("a letter in every group"),
                (')', Some(branches)) => {
                    sublayers.push(self.sublayer(Op::Parallel(branches)));
                    None
                }
                (_, mut group) => {
                    let Some(op) = self.op(letter) else { return refuse(&self.known()) };
                    match &mut group {
                        None => sublayers.push(self.sublayer(op)),
                        Some(branches) => branches.push(SubLayer::branch(op)),
                    }
                    group
                }
            };
        }
        let end = || format!("the end at position {}", string.chars().count());
        match (group, sublayers.is_empty()) {
            (Some(_), _) => Err(Error::config(string, "a ')'", end())),
            (None, true) => Err(Error::config(string, "at least one letter", end())),
            (None, false) => Ok(Block { sublayers }),
        }
    }

    fn op(&self, letter: char) -> Option<Op> {
        match letter {
            'a' => self.attention.clone().map(Op::Attention),
            'f' => self.feed_forward.map(Op::FeedForward),
            'g' => self.experts.map(Op::Experts),
            'c' => self.cross_attention.clone().map(Op::CrossAttention),
            _ => None,
        }
    }

    /// The letters that stand for something, for people.
    fn known(&self) -> String {
        let known: Vec<_> =
            ['a', 'f', 'g', 'c'].into_iter().filter(|letter| self.op(*letter).is_some()).collect();
        format!("one of the letters described here, {known:?}, or a group of them")
    }

    fn sublayer(&self, op: Op) -> SubLayer {
        SubLayer { norm: self.norm, post_norm: self.post_norm, ..SubLayer::branch(op) }
    }
}

impl Block {
    /// The layout string of its sub-layers; `e` is what adds a layer's own embedding of each token, which no [`Letters`] describe.
    pub fn layout_string(&self) -> String {
        letters(&self.sublayers)
    }
}

fn letters(sublayers: &[SubLayer]) -> String {
    sublayers
        .iter()
        .map(|sublayer| match &sublayer.op {
            Op::Attention(_) | Op::LatentAttention(_) => "a".to_owned(),
            Op::FeedForward(_) => "f".to_owned(),
            Op::Experts(_) => "g".to_owned(),
            Op::CrossAttention(_) => "c".to_owned(),
            Op::LayerInput(_) => "e".to_owned(),
            Op::Parallel(branches) => format!("({})", letters(branches)),
        })
        .collect()
}
