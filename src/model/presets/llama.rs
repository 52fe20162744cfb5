//! Llama and what is built alike.

use super::shape::{Shape, block, experts};
use crate::model::config::{
    Activation, Attention, FeedForward, ModelConfig, Norm, NormKind, Op, RopeScaling,
};

/// Llama 3 8B (arXiv 2407.21783, table 3).
pub fn llama3_8b() -> ModelConfig {
    let shape = Shape { d: 4096, heads: 32, kv_heads: 8, head_dim: 128, vocab: 128_256, context: 8192 };
    let attention = shape.attention(500_000.0, RopeScaling::None);
    untied(
        "llama3-8b",
        shape,
        32,
        attention,
        Op::FeedForward(FeedForward::gated(14_336, Activation::Silu)),
        1e-5,
    )
}

/// Mixtral 8x7B (arXiv 2401.04088, table 1).
pub fn mixtral_8x7b() -> ModelConfig {
    let shape = Shape { d: 4096, heads: 32, kv_heads: 8, head_dim: 128, vocab: 32_000, context: 32_768 };
    let attention = shape.attention(1_000_000.0, RopeScaling::None);
    untied(
        "mixtral-8x7b",
        shape,
        32,
        attention,
        experts(8, 2, FeedForward::gated(14_336, Activation::Silu)),
        1e-5,
    )
}

/// Qwen3 30B-A3B (arXiv 2505.09388, table 2, and its released configuration).
pub fn qwen3_30b_a3b() -> ModelConfig {
    let shape = Shape { d: 2048, heads: 32, kv_heads: 4, head_dim: 128, vocab: 151_936, context: 40_960 };
    let qk_norm = Some(Norm { kind: NormKind::Rms, eps: 1e-6 });
    let attention = Attention { qk_norm, ..shape.attention(1_000_000.0, RopeScaling::None) };
    untied(
        "qwen3-30b-a3b",
        shape,
        48,
        attention,
        experts(128, 8, FeedForward::gated(768, Activation::Silu)),
        1e-6,
    )
}

/// Llama and its kin: the same layer again and again, a norm before each sub-layer, a head of its own.
fn untied(name: &str, shape: Shape, layers: usize, attention: Attention, ffn: Op, eps: f32) -> ModelConfig {
    let norm = Norm { kind: NormKind::Rms, eps };
    shape.model(name, vec![block(norm, None, attention, ffn); layers], norm)
}
