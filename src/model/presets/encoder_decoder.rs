//! Encoders with decoders: T5 (arXiv 1910.10683), Switch (arXiv 2101.03961) and ST-MoE (arXiv 2202.08906).

use super::shape::{RMS, Shape};
use crate::model::config::{
    Activation, Attention, Encoder, Experts, FeedForward, Head, ModelConfig, RelativeBias, Routing,
};
use crate::model::layout_string::Letters;

/// T5.1.1 XXL (arXiv 1910.10683 and its released configuration).
pub fn t5_xxl() -> ModelConfig {
    let shape = Shape { d: 4096, heads: 64, ..T5 };
    let dense = FeedForward::gated(10_240, Activation::GeluTanh);
    let mut model = Stacks { shape, layers: 24, dense, experts: None, every: 1 }.named("t5-xxl");
    model.head = Head::default();
    model
}

/// Switch-C (arXiv 2101.03961, table 9). It has more experts than kernels take.
pub fn switch_c() -> ModelConfig {
    let shape = Shape { d: 2080, heads: 32, ..T5 };
    let dense = FeedForward::plain(6144, Activation::Relu);
    let experts = Experts::new(2048, 1, Routing::softmax_topk(false), dense);
    Stacks { shape, layers: 15, dense, experts: Some(experts), every: 1 }.named("switch-c")
}

/// ST-MoE-L (arXiv 2202.08906, table 11).
pub fn st_moe_l() -> ModelConfig {
    st_moe("st-moe-l", Shape { d: 1024, heads: 16, ..T5 }, 2816, 32)
}

/// ST-MoE-32B (arXiv 2202.08906, table 11).
pub fn st_moe_32b() -> ModelConfig {
    st_moe("st-moe-32b", Shape { d: 5120, heads: 64, head_dim: 128, ..T5 }, 20_480, 64)
}

/// Experts in every fourth layer. The dense network that the paper adds after them is not in its counts, and not here.
fn st_moe(name: &str, shape: Shape, hidden: u32, count: u32) -> ModelConfig {
    let dense = FeedForward::gated(hidden, Activation::GeluTanh);
    let experts = Experts::new(count, 2, Routing::softmax_topk(true), dense);
    Stacks { shape, layers: 27, dense, experts: Some(experts), every: 4 }.named(name)
}

/// The vocabulary and the heads of T5; its keys and values have as many heads as its queries.
const T5: Shape = Shape { d: 0, heads: 0, kv_heads: 0, head_dim: 64, vocab: 32_128, context: 512 };

/// Two stacks of the same layers, but for the decoder's cross-attention.
#[derive(Clone, Copy)]
struct Stacks {
    shape: Shape,
    layers: usize,
    dense: FeedForward,
    experts: Option<Experts>,
    /// Layers to each that has experts.
    every: usize,
}

impl Stacks {
    fn named(self, name: &str) -> ModelConfig {
        let relative_bias = Some(RelativeBias { buckets: 32, max_distance: 128 });
        let decoder = self.stack(name, false, ["acf", "acg"]);
        let encoder = Encoder {
            blocks: self.stack(name, true, ["af", "ag"]).blocks,
            final_norm: RMS,
            start_id: 0,
            relative_bias,
        };
        let scale = f64::from(self.shape.d).sqrt().recip() as f32;
        let head = Head { scale, ..decoder.head };
        ModelConfig { encoder: Some(encoder), relative_bias, head, ..decoder }
    }

    /// Layers of these orders: without experts and with them.
    fn stack(self, name: &str, bidirectional: bool, [dense, sparse]: [&str; 2]) -> ModelConfig {
        // T5 has the factor of attention's logits in its weights.
        let attention = Attention { kv_heads: self.shape.heads, scale: 1.0, ..self.shape.unrotated() };
        let letters = Letters {
            norm: Some(RMS),
            attention: Some(Attention { bidirectional, ..attention.clone() }),
            cross_attention: Some(attention),
            feed_forward: Some(self.dense),
            experts: self.experts,
            ..Letters::default()
        };
        let is_sparse = |layer: usize| self.experts.is_some() && layer.is_multiple_of(self.every);
        let orders = (1..=self.layers).map(|layer| if is_sparse(layer) { sparse } else { dense });
        self.shape.tied(name, &letters, orders)
    }
}
