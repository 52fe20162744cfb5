//! PaLM.

use super::orders;
use super::shape::Shape;
use crate::model::config::{Activation, FeedForward, ModelConfig, Norm, NormKind, RopeScaling};
use crate::model::layout_string::Letters;

/// PaLM 8B (arXiv 2204.02311, table 1). What divides the logits by `sqrt(d)` is left out, here and in the larger ones.
pub fn palm_8b() -> ModelConfig {
    palm("palm-8b", 32, 16, 4096)
}

/// PaLM 62B (arXiv 2204.02311, table 1).
pub fn palm_62b() -> ModelConfig {
    palm("palm-62b", 64, 32, 8192)
}

/// PaLM 540B (arXiv 2204.02311, table 1).
pub fn palm_540b() -> ModelConfig {
    palm("palm-540b", 118, 48, 18_432)
}

/// One key/value head, SwiGLU, and a LayerNorm without biases, that attention and feed-forward network share.
fn palm(name: &str, layers: usize, heads: u32, d: u32) -> ModelConfig {
    let shape = Shape { d, heads, kv_heads: 1, head_dim: 256, vocab: 256_000, context: 2048 };
    let letters = Letters {
        norm: Some(Norm { kind: NormKind::LayerNorm, eps: 1e-6 }),
        attention: Some(shape.attention(10_000.0, RopeScaling::None)),
        feed_forward: Some(FeedForward::gated(4 * d, Activation::Silu)),
        ..Letters::default()
    };
    shape.tied(name, &letters, vec![orders::PARALLEL; layers])
}
