//! GLaM and GShard: experts in every other layer.
//!
//! Their positions, a relative bias on the logits of attention, are left out: no count that is published has digits enough to show
//! its table.

use super::orders;
use super::shape::{RMS, Shape};
use crate::model::config::{Activation, Experts, FeedForward, ModelConfig, Routing};
use crate::model::layout_string::Letters;

/// GLaM 0.1B/32E (arXiv 2112.06905, table 4). Its vocabulary, and that of all but the largest, is the one of 32 000
/// that the published counts agree with.
pub fn glam_100m_32e() -> ModelConfig {
    glam("glam-0.1b-32e", 12, SHAPE_100M, Some(32))
}

/// GLaM 0.1B/64E (arXiv 2112.06905, table 4).
pub fn glam_100m_64e() -> ModelConfig {
    glam("glam-0.1b-64e", 12, SHAPE_100M, Some(64))
}

/// The dense model of 1.7B beside GLaM (arXiv 2112.06905, table 4).
pub fn glam_1700m() -> ModelConfig {
    glam("glam-1.7b", 24, SHAPE_1700M, None)
}

/// GLaM 1.7B/64E (arXiv 2112.06905, table 4).
pub fn glam_1700m_64e() -> ModelConfig {
    glam("glam-1.7b-64e", 24, SHAPE_1700M, Some(64))
}

/// GLaM 1.7B/128E (arXiv 2112.06905, table 4).
pub fn glam_1700m_128e() -> ModelConfig {
    glam("glam-1.7b-128e", 24, SHAPE_1700M, Some(128))
}

/// GLaM 1.7B/256E (arXiv 2112.06905, table 4).
pub fn glam_1700m_256e() -> ModelConfig {
    glam("glam-1.7b-256e", 24, SHAPE_1700M, Some(256))
}

/// The dense model of 8B beside GLaM (arXiv 2112.06905, table 4).
pub fn glam_8b() -> ModelConfig {
    glam("glam-8b", 32, SHAPE_8B, None)
}

/// GLaM 8B/64E (arXiv 2112.06905, table 4).
pub fn glam_8b_64e() -> ModelConfig {
    glam("glam-8b-64e", 32, SHAPE_8B, Some(64))
}

/// GLaM 64B/64E (arXiv 2112.06905, table 4).
pub fn glam_64b_64e() -> ModelConfig {
    glam("glam-64b-64e", 64, SHAPE_64B, Some(64))
}

/// GShard 600B, `MoE(2048E, 36L)` (arXiv 2006.16668), its encoder and decoder as one stack of 36 layers. The vocabulary
/// is not published: this one stands in for it.
///
/// It has more experts than [kernels take](crate::kernels::expert_plan::MAX_EXPERTS), so it is here to be counted.
pub fn gshard_600b() -> ModelConfig {
    let shape = Shape { d: 1024, heads: 16, kv_heads: 16, head_dim: 128, vocab: 64_000, context: 1024 };
    let network = FeedForward::plain(8192, Activation::Relu);
    let letters = Letters {
        norm: Some(RMS),
        attention: Some(shape.unrotated()),
        feed_forward: Some(network),
        experts: Some(Experts::new(2048, 2, Routing::softmax_topk(true), network)),
        ..Letters::default()
    };
    shape.tied("gshard-600b", &letters, [orders::GSHARD; 18])
}

const SHAPE_100M: Shape =
    Shape { d: 768, heads: 12, kv_heads: 12, head_dim: 64, vocab: 32_000, context: 1024 };
const SHAPE_1700M: Shape =
    Shape { d: 2048, heads: 16, kv_heads: 16, head_dim: 128, vocab: 32_000, context: 1024 };
const SHAPE_8B: Shape =
    Shape { d: 4096, heads: 32, kv_heads: 32, head_dim: 128, vocab: 32_000, context: 1024 };
const SHAPE_64B: Shape =
    Shape { d: 8192, heads: 128, kv_heads: 128, head_dim: 128, vocab: 256_000, context: 1024 };

/// Dense networks are gated and experts are not. Without experts every layer is dense.
fn glam(name: &str, layers: usize, shape: Shape, experts: Option<u32>) -> ModelConfig {
    let hidden = 4 * shape.d;
    let expert = FeedForward::plain(hidden, Activation::GeluTanh);
    let letters = Letters {
        norm: Some(RMS),
        attention: Some(shape.unrotated()),
        feed_forward: Some(FeedForward::gated(hidden, Activation::GeluTanh)),
        experts: experts.map(|count| Experts::new(count, 2, Routing::softmax_topk(true), expert)),
        ..Letters::default()
    };
    let orders = match experts {
        Some(_) => vec![orders::GSHARD; layers / 2],
        None => vec![orders::DENSE; layers],
    };
    shape.tied(name, &letters, orders)
}
