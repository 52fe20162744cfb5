//! Gemma 2 and 3, and small models in their manner.

use super::shape::{Shape, block, experts};
use crate::model::config::{
    Activation, Attention, FeedForward, ModelConfig, Norm, NormKind, Op, RopeScaling,
};

/// 2.2 million parameters in the manner of Gemma 3: five local layers to a global one.
pub fn tiny_dense() -> ModelConfig {
    gemma3_like("tiny-dense", TINY, 6, 384, 64, RopeScaling::None)
}

/// 3.0 million parameters: the same with 8 experts, 2 to a token, in every other layer.
pub fn tiny_moe() -> ModelConfig {
    let mut config = gemma3_like("tiny-moe", TINY, 6, 384, 64, RopeScaling::None);
    for block in config.blocks.iter_mut().skip(1).step_by(2) {
        block.sublayers[1].op = experts(8, 2, FeedForward::gated(128, Activation::GeluTanh));
    }
    config
}

const TINY: Shape = Shape { d: 128, heads: 4, kv_heads: 2, head_dim: 32, vocab: 8192, context: 1024 };

/// Gemma 3 270M (arXiv 2503.19786 and its released configuration).
pub fn gemma3_270m() -> ModelConfig {
    let shape = Shape { d: 640, heads: 4, kv_heads: 1, head_dim: 256, vocab: 262_144, context: 32_768 };
    gemma3_like("gemma3-270m", shape, 18, 2048, 512, RopeScaling::None)
}

/// Gemma 3 1B (arXiv 2503.19786, table 1).
pub fn gemma3_1b() -> ModelConfig {
    let shape = Shape { d: 1152, heads: 4, kv_heads: 1, head_dim: 256, vocab: 262_144, context: 32_768 };
    gemma3_like("gemma3-1b", shape, 26, 6912, 512, RopeScaling::None)
}

/// The text part of Gemma 3 4B (arXiv 2503.19786, table 1).
pub fn gemma3_4b() -> ModelConfig {
    let shape = Shape { d: 2560, heads: 8, kv_heads: 4, head_dim: 256, vocab: 262_144, context: 131_072 };
    gemma3_like("gemma3-4b", shape, 34, 10_240, 1024, RopeScaling::Linear { factor: 8.0 })
}

/// Gemma 2 2B (arXiv 2408.00118, table 1).
pub fn gemma2_2b() -> ModelConfig {
    let shape = Shape { d: 2304, heads: 8, kv_heads: 4, head_dim: 256, vocab: 256_128, context: 8192 };
    let global = Attention { softcap: Some(50.0), ..shape.attention(10_000.0, RopeScaling::None) };
    let local = Attention { window: Some(4096), ..global.clone() };
    let layer = |n: usize| if n.is_multiple_of(2) { local.clone() } else { global.clone() };
    let mut config = gemma("gemma2-2b", shape, (0..26).map(layer), 9216);
    config.head.softcap = Some(30.0);
    config
}

/// Gemma 3: five local layers to a global one, whose rotation is slower and may be stretched; norms on Q and K.
fn gemma3_like(
    name: &str,
    shape: Shape,
    layers: usize,
    hidden: u32,
    window: u32,
    global_scaling: RopeScaling,
) -> ModelConfig {
    let qk_norm = Some(GEMMA_NORM);
    let global = Attention { qk_norm, ..shape.attention(1_000_000.0, global_scaling) };
    let local = Attention { qk_norm, window: Some(window), ..shape.attention(10_000.0, RopeScaling::None) };
    let layer = |n: usize| if (n + 1).is_multiple_of(6) { global.clone() } else { local.clone() };
    gemma(name, shape, (0..layers).map(layer), hidden)
}

const GEMMA_NORM: Norm = Norm { kind: NormKind::RmsUnitOffset, eps: 1e-6 };

/// Gemma 2 and 3: GEGLU, a norm before and after each sub-layer, a scaled embedding that is also the head.
fn gemma(name: &str, shape: Shape, attention: impl Iterator<Item = Attention>, hidden: u32) -> ModelConfig {
    let ffn = Op::FeedForward(FeedForward::gated(hidden, Activation::GeluTanh));
    let blocks = attention.map(|a| block(GEMMA_NORM, Some(GEMMA_NORM), a, ffn.clone())).collect();
    let mut config = shape.model(name, blocks, GEMMA_NORM);
    config.embedding_scale = f64::from(shape.d).sqrt() as f32;
    config.head.tied = true;
    config
}
