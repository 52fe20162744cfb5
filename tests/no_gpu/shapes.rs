//! Models as large as people run them, described and planned but never loaded.

use wattle::gpu::Capabilities;
use wattle::kernel::Span;
use wattle::model::config::{
    Activation, Attention, Experts, Head, ModelConfig, Norm, NormKind, Op, RopeScaling, Routing,
};
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;
use wattle::model::session::SessionPlan;
use wattle::model::{SessionOptions, family};
use wattle::quant::WeightFormat;

use crate::models::{attention, feed_forward, model, rope};

const GEMMA: Norm = Norm { kind: NormKind::RmsUnitOffset, eps: 1e-6 };
const RMS: Norm = Norm { kind: NormKind::Rms, eps: 1e-5 };

/// The least a device has, and one with everything.
pub fn devices() -> [Capabilities; 2] {
    let most = Capabilities {
        f16: true,
        subgroups: true,
        timestamps: true,
        max_binding_bytes: 1 << 32,
        max_buffer_bytes: 1 << 34,
        binding_alignment: 32,
    };
    [Capabilities::webgpu(), most]
}

/// A plan with every matrix in the format of that name.
pub fn weights(format: &str) -> WeightPlan {
    WeightPlan::uniform(format.parse::<WeightFormat>().unwrap())
}

/// A session of a model on a device.
pub fn plan(config: &ModelConfig, device: &Capabilities, format: &str, context: u32) -> SessionPlan {
    let layout = Layout::new(config, &weights(format), device).unwrap();
    let options = SessionOptions {
        max_chunk: 512,
        chunk_ops: u64::MAX,
        ..SessionOptions::new(context, Sampling::GREEDY)
    };
    assert_eq!(options.logits, LogitRows::Last);
    SessionPlan::new(config, &layout, device, &options).unwrap()
}

/// One row at that place.
pub fn one_row(position: u32) -> Span {
    Span { position, rows: 1 }
}

fn gemma(
    [vocab, width, hidden]: [u32; 3],
    context_length: u32,
    layers: u32,
    attention: impl Fn(u32) -> Attention,
) -> ModelConfig {
    let ffn = Op::FeedForward(feed_forward(hidden, Activation::GeluTanh));
    let layers = (0..layers).map(|layer| (attention(layer), ffn.clone())).collect();
    let head = Head { tied: true, softcap: None };
    let model = model([vocab, width], GEMMA, Some(GEMMA), layers);
    ModelConfig { context_length, embedding_scale: (width as f32).sqrt(), head, ..model }
}

/// Gemma 3: five local layers to a global one.
pub fn gemma3(
    sizes: [u32; 3],
    layers: u32,
    [heads, kv_heads, head_dim]: [u32; 3],
    window: u32,
) -> ModelConfig {
    gemma(sizes, 131_072, layers, |layer| {
        let is_global = (layer + 1).is_multiple_of(6);
        let theta = if is_global { 1e6 } else { 1e4 };
        Attention {
            qk_norm: Some(GEMMA),
            window: (!is_global).then_some(window),
            ..attention(heads, kv_heads, head_dim, rope(theta, head_dim, RopeScaling::None))
        }
    })
}

/// Gemma 2: local and global layers in turn.
pub fn gemma2(sizes: [u32; 3], layers: u32, [heads, kv_heads, head_dim]: [u32; 3]) -> ModelConfig {
    gemma(sizes, 32_768, layers, |layer| Attention {
        softcap: Some(50.0),
        window: layer.is_multiple_of(2).then_some(4096),
        ..attention(heads, kv_heads, head_dim, rope(1e4, head_dim, RopeScaling::None))
    })
}

pub fn gemma3_1b() -> ModelConfig {
    gemma3([262_144, 1152, 6912], 26, [4, 1, 256], 512)
}

pub fn gemma3_4b() -> ModelConfig {
    gemma3([262_144, 2560, 10_240], 34, [8, 4, 256], 1024)
}

fn expert_layer(count: u32, top_k: u32, hidden: u32) -> Op {
    let expert = feed_forward(hidden, Activation::Silu);
    Op::Experts(Experts { count, top_k, routing: Routing::SoftmaxTopk { renormalize: true }, expert })
}

/// The large models: name and description.
pub fn large() -> Vec<(&'static str, ModelConfig)> {
    let qwen = Attention { qk_norm: Some(RMS), ..attention(32, 4, 128, rope(1e6, 128, RopeScaling::None)) };
    let llama = attention(32, 8, 128, rope(5e5, 128, RopeScaling::None));
    let mixtral = attention(32, 8, 128, rope(1e6, 128, RopeScaling::None));
    let silu = Op::FeedForward(feed_forward(14_336, Activation::Silu));
    let like =
        |sizes, layers, context_length| ModelConfig { context_length, ..model(sizes, RMS, None, layers) };
    vec![
        ("Gemma 3 1B", gemma3_1b()),
        ("Gemma 3 4B", gemma3_4b()),
        ("Llama 3 8B", like([128_256, 4096], vec![(llama, silu); 32], 8192)),
        ("Mixtral 8x7B", like([32_000, 4096], vec![(mixtral, expert_layer(8, 2, 14_336)); 32], 32_768)),
        ("Qwen3 30B A3B", like([151_936, 2048], vec![(qwen, expert_layer(128, 8, 768)); 48], 32_768)),
    ]
}

/// Those of the large models that a device holds in int8.
pub fn large_on(device: &Capabilities) -> Vec<(&'static str, ModelConfig)> {
    let fits = |config: &ModelConfig| Layout::new(config, &weights("int8"), device).is_ok();
    large().into_iter().filter(|(_, config)| fits(config)).collect()
}

/// The small models: those of the golden data, and the bundled one.
pub fn small() -> Vec<(String, ModelConfig)> {
    let golden = crate::forward::MODELS.iter().map(|name| ((*name).to_owned(), crate::models::config(name)));
    let bundled = include_str!("../../models/stories/config.json");
    let (bundled, _) = family::parse(bundled).unwrap();
    golden.chain([("stories".to_owned(), bundled)]).collect()
}
