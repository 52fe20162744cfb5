//! Named descriptions: the shapes of published models, and two small ones that software drivers can run.
//!
//! For planning and, with [`Model::random`](super::Model::random), for measuring without a checkpoint. A published
//! checkpoint brings its own description, which may differ in the size of the vocabulary.

use super::config::{
    Activation, Attention, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Rope,
    RopeLayout, RopeScaling, Routing, SubLayer,
};

/// A name and the description it stands for.
pub type Preset = (&'static str, fn() -> ModelConfig);

/// Every preset, small ones first.
pub const PRESETS: [Preset; 9] = [
    ("tiny-dense", tiny_dense),
    ("tiny-moe", tiny_moe),
    ("gemma3-270m", gemma3_270m),
    ("gemma3-1b", gemma3_1b),
    ("gemma2-2b", gemma2_2b),
    ("gemma3-4b", gemma3_4b),
    ("llama3-8b", llama3_8b),
    ("qwen3-30b-a3b", qwen3_30b_a3b),
    ("mixtral-8x7b", mixtral_8x7b),
];

/// The preset of a name.
pub fn preset(name: &str) -> Option<ModelConfig> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, config)| config())
}

/// 2.2 million parameters in the manner of Gemma 3: five local layers to a global one.
pub fn tiny_dense() -> ModelConfig {
    gemma3_like("tiny-dense", TINY, 6, 384, 64, RopeScaling::None)
}

/// 3.0 million parameters: the same with 8 experts, 2 to a token, in every other layer.
pub fn tiny_moe() -> ModelConfig {
    let mut config = gemma3_like("tiny-moe", TINY, 6, 384, 64, RopeScaling::None);
    for block in config.blocks.iter_mut().skip(1).step_by(2) {
        block.sublayers[1].op = experts(8, 2, gated(128, Activation::GeluTanh));
    }
    config
}

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

/// Llama 3 8B (arXiv 2407.21783, table 3).
pub fn llama3_8b() -> ModelConfig {
    let shape = Shape { d: 4096, heads: 32, kv_heads: 8, head_dim: 128, vocab: 128_256, context: 8192 };
    let attention = shape.attention(500_000.0, RopeScaling::None);
    untied("llama3-8b", shape, 32, attention, Op::FeedForward(gated(14_336, Activation::Silu)), 1e-5)
}

/// Mixtral 8x7B (arXiv 2401.04088, table 1).
pub fn mixtral_8x7b() -> ModelConfig {
    let shape = Shape { d: 4096, heads: 32, kv_heads: 8, head_dim: 128, vocab: 32_000, context: 32_768 };
    let attention = shape.attention(1_000_000.0, RopeScaling::None);
    untied("mixtral-8x7b", shape, 32, attention, experts(8, 2, gated(14_336, Activation::Silu)), 1e-5)
}

/// Qwen3 30B-A3B (arXiv 2505.09388, table 2, and its released configuration).
pub fn qwen3_30b_a3b() -> ModelConfig {
    let shape = Shape { d: 2048, heads: 32, kv_heads: 4, head_dim: 128, vocab: 151_936, context: 40_960 };
    let qk_norm = Some(Norm { kind: NormKind::Rms, eps: 1e-6 });
    let attention = Attention { qk_norm, ..shape.attention(1_000_000.0, RopeScaling::None) };
    untied("qwen3-30b-a3b", shape, 48, attention, experts(128, 8, gated(768, Activation::Silu)), 1e-6)
}

/// What all layers of a model share.
#[derive(Clone, Copy)]
struct Shape {
    d: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    vocab: u32,
    context: u32,
}

const TINY: Shape = Shape { d: 128, heads: 4, kv_heads: 2, head_dim: 32, vocab: 8192, context: 1024 };

impl Shape {
    /// Global attention, scaled by `head_dim^-0.5`, heads rotated whole.
    fn attention(self, theta: f64, scaling: RopeScaling) -> Attention {
        let rope = Rope { theta, rotary_dim: self.head_dim, layout: RopeLayout::HalfSplit, scaling };
        Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            scale: f64::from(self.head_dim).sqrt().recip() as f32,
            rope: Some(rope),
            ..Attention::default()
        }
    }

    fn model(self, name: &str, blocks: Vec<Block>, final_norm: Norm) -> ModelConfig {
        ModelConfig {
            name: name.to_owned(),
            vocab_size: self.vocab,
            hidden_size: self.d,
            context_length: self.context,
            embedding_scale: 1.0,
            blocks,
            final_norm,
            head: Head::default(),
        }
    }
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
    let ffn = Op::FeedForward(gated(hidden, Activation::GeluTanh));
    let blocks = attention.map(|a| block(GEMMA_NORM, Some(GEMMA_NORM), a, ffn.clone())).collect();
    let mut config = shape.model(name, blocks, GEMMA_NORM);
    config.embedding_scale = f64::from(shape.d).sqrt() as f32;
    config.head.tied = true;
    config
}

/// Llama and its kin: the same layer again and again, a norm before each sub-layer, a head of its own.
fn untied(name: &str, shape: Shape, layers: usize, attention: Attention, ffn: Op, eps: f32) -> ModelConfig {
    let norm = Norm { kind: NormKind::Rms, eps };
    shape.model(name, vec![block(norm, None, attention, ffn); layers], norm)
}

fn block(norm: Norm, post_norm: Option<Norm>, attention: Attention, ffn: Op) -> Block {
    let sublayer = |op| SubLayer { post_norm, ..SubLayer::new(norm, op) };
    Block { sublayers: vec![sublayer(Op::Attention(attention)), sublayer(ffn)] }
}

fn gated(hidden: u32, activation: Activation) -> FeedForward {
    FeedForward::gated(hidden, activation)
}

fn experts(count: u32, top_k: u32, expert: FeedForward) -> Op {
    Op::Experts(Experts::new(count, top_k, Routing::softmax_topk(true), expert))
}
