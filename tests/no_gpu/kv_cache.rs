//! Bytes of key/value caches against the table of published layouts.

use wattle::fragments::CacheFormat;
use wattle::gpu::Capabilities;
use wattle::model::SessionOptions;
use wattle::model::config::{Block, ModelConfig, Op};
use wattle::model::forward::Sampling;
use wattle::model::layout::Layout;
use wattle::model::presets::{gemma2_2b, gemma3_1b};
use wattle::model::session::SessionPlan;

use crate::shapes::weights;

/// The same model with as many layers of other heads. Only the caches are to be believed.
fn resized(model: ModelConfig, layers: usize, [heads, kv_heads, head_dim]: [u32; 3]) -> ModelConfig {
    let pattern = model.blocks.iter().take(6).cycle().take(layers);
    let resize = |block: &Block| {
        let mut block = block.clone();
        if let Op::Attention(attention) = &mut block.sublayers[0].op {
            (attention.heads, attention.kv_heads, attention.head_dim) = (heads, kv_heads, head_dim);
            attention.rope =
                attention.rope.map(|rope| wattle::model::config::Rope { rotary_dim: head_dim, ..rope });
        }
        block
    };
    ModelConfig { blocks: pattern.map(resize).collect(), context_length: 131_072, ..model }
}

/// Gemma 2: local and global layers in turn.
fn gemma2(layers: usize, heads: [u32; 3]) -> ModelConfig {
    resized(gemma2_2b(), layers, heads)
}

/// Gemma 3: five local layers to a global one.
fn gemma3(layers: usize, heads: [u32; 3], window: u32) -> ModelConfig {
    let mut model = resized(gemma3_1b(), layers, heads);
    for block in &mut model.blocks {
        if let Op::Attention(attention) = &mut block.sublayers[0].op {
            attention.window = attention.window.map(|_| window);
        }
    }
    model
}

/// Bytes of all caches of a session.
fn cache_bytes(config: &ModelConfig, context: u32, cache: CacheFormat) -> u64 {
    let device = Capabilities::webgpu();
    let layout = Layout::new(config, &weights("int2"), &device).unwrap();
    let options = SessionOptions { cache, ..SessionOptions::new(context, Sampling::GREEDY) };
    let named = SessionPlan::new(config, &layout, &device, &options).unwrap().named_bytes();
    named.iter().filter(|(name, _)| name.ends_with("_cache")).map(|(_, bytes)| bytes).sum()
}

/// Bytes of all caches if every layer were global.
fn global_bytes(config: &ModelConfig, context: u32) -> u64 {
    let of = |(_, op): (_, &Op)| match op {
        Op::Attention(attention) => 2 * 2 * u64::from(attention.kv_heads * attention.head_dim),
        _ => 0,
    };
    u64::from(context) * config.ops().map(of).sum::<u64>()
}

/// How much the windows save: 5.33 and 5.96 times (the same table).
#[test]
fn windows_save_as_much_as_published() {
    let config = gemma3(62, [32, 16, 128], 1024);
    for (context, expected) in [(8192, 3.76), (32_768, 5.33), (131_072, 5.96)] {
        let ratio =
            global_bytes(&config, context) as f64 / cache_bytes(&config, context, CacheFormat::F16) as f64;
        assert!((ratio - expected).abs() < 0.005, "{context}: {expected}, found {ratio}");
    }
}

/// Megabytes in f16 at 8192, 32 768 and 131 072 tokens; 0: beyond the context.
#[test]
fn caches_are_as_large_as_published() {
    let table = [
        ("Gemma 2 2B", gemma2(26, [8, 4, 256]), [654.3, 1962.9, 0.0]),
        ("Gemma 2 9B", gemma2(42, [16, 8, 256]), [2113.9, 6341.8, 0.0]),
        ("Gemma 2 27B", gemma2(46, [32, 16, 128]), [2315.3, 6945.8, 0.0]),
        ("Gemma 3 1B", gemma3(26, [4, 1, 256], 512), [45.1, 145.8, 0.0]),
        ("Gemma 3 4B", gemma3(34, [8, 4, 256], 1024), [289.4, 792.7, 2806.0]),
        ("Gemma 3 12B", gemma3(48, [16, 8, 256], 1024), [872.4, 2483.0, 8925.5]),
        ("Gemma 3 27B", gemma3(62, [32, 16, 128], 1024), [1107.3, 3120.6, 11_173.6]),
    ];
    for (name, config, megabytes) in table {
        for (context, expected) in [8192, 32_768, 131_072].into_iter().zip(megabytes) {
            if expected > 0.0 {
                let found = cache_bytes(&config, context, CacheFormat::F16) as f64 / 1e6;
                // The table has one decimal.
                assert!(
                    (found - expected).abs() < 0.051,
                    "{name} at {context}: {expected} MB, found {found}"
                );
            }
        }
    }
}

#[test]
fn a_window_longer_than_the_context_takes_only_the_context() {
    let config = gemma3_1b();
    let [short, long] = [100, 512].map(|context| cache_bytes(&config, context, CacheFormat::F32));
    assert_eq!(short, 26 * 2 * 256 * 100 * 4);
    assert_eq!(long, 26 * 2 * 256 * 512 * 4);
}
