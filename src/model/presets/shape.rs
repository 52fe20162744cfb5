//! What descriptions of published models are made of.

use crate::model::config::{
    Attention, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Rope, RopeLayout,
    RopeScaling, Routing, SubLayer,
};
use crate::model::layout_string::Letters;

/// What all layers of a model share.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub d: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub vocab: u32,
    pub context: u32,
}

impl Shape {
    /// Global attention, scaled by `head_dim^-0.5`, heads rotated whole.
    pub fn attention(self, theta: f64, scaling: RopeScaling) -> Attention {
        let rope = Rope { theta, rotary_dim: self.head_dim, layout: RopeLayout::HalfSplit, scaling };
        Attention { rope: Some(rope), ..self.unrotated() }
    }

    /// The same without positions.
    pub fn unrotated(self) -> Attention {
        Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            scale: f64::from(self.head_dim).sqrt().recip() as f32,
            ..Attention::default()
        }
    }

    pub fn model(self, name: &str, blocks: Vec<Block>, final_norm: Norm) -> ModelConfig {
        ModelConfig {
            name: name.to_owned(),
            vocab_size: self.vocab,
            hidden_size: self.d,
            context_length: self.context,
            encoder: None,
            relative_bias: None,
            embedding_scale: 1.0,
            learned_positions: false,
            layer_inputs: None,
            streams: None,
            blocks,
            final_norm,
            head: Head::default(),
        }
    }

    /// The blocks of these orders, with the embedding as head.
    pub fn tied<'a>(
        self,
        name: &str,
        letters: &Letters,
        orders: impl IntoIterator<Item = &'a str>,
    ) -> ModelConfig {
        // An order that did not fit its letters would give a block of nothing, which no description may have.
        let block = |order| letters.block(order).unwrap_or(Block { sublayers: Vec::new() });
        let mut config =
            self.model(name, orders.into_iter().map(block).collect(), letters.norm.unwrap_or(RMS));
        config.head.tied = true;
        config
    }
}

/// The norm of models whose papers give no other.
pub(super) const RMS: Norm = Norm { kind: NormKind::Rms, eps: 1e-6 };

pub(super) fn block(norm: Norm, post_norm: Option<Norm>, attention: Attention, ffn: Op) -> Block {
    let sublayer = |op| SubLayer { post_norm, ..SubLayer::new(norm, op) };
    Block { sublayers: vec![sublayer(Op::Attention(attention)), sublayer(ffn)] }
}

pub(super) fn experts(count: u32, top_k: u32, expert: FeedForward) -> Op {
    Op::Experts(Experts::new(count, top_k, Routing::softmax_topk(true), expert))
}
