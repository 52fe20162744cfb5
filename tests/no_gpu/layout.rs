//! Weights that do not fit into one binding.

use wattle::Error;
use wattle::gpu::Capabilities;
use wattle::model::layout::{Layout, Matrix};
use wattle::model::session::SessionPlan;
use wattle::model::{SessionOptions, config::ModelConfig, forward::Sampling};

use crate::models::config;
use crate::shapes::{large, weights};

fn device(max_binding_bytes: u64) -> Capabilities {
    Capabilities { max_binding_bytes, ..Capabilities::webgpu() }
}

/// Shards that cover every row once, four at a time or an expert's, each within the limit.
fn assert_split(matrix: &Matrix, limit: u64) {
    let mut next = 0;
    for (n, shard) in matrix.shards.iter().enumerate() {
        assert_eq!(shard.start, next, "{}, shard {n}", matrix.name);
        let is_last = n + 1 == matrix.shards.len();
        let step = if matrix.experts.is_empty() { 4 } else { matrix.rows as usize };
        assert!(is_last || shard.len().is_multiple_of(step), "{}, shard {n}: {shard:?}", matrix.name);
        assert!(!shard.is_empty(), "{}, shard {n}", matrix.name);
        let bytes = matrix.shard_bytes(shard);
        assert!(bytes.iter().all(|bytes| *bytes <= limit), "{}, shard {n}: {bytes:?}", matrix.name);
        next = shard.end;
    }
    assert_eq!(next, matrix.all_rows(), "{}", matrix.name);
}

#[test]
fn large_matrices_are_split_by_rows() {
    for format in ["f32", "f16", "int8", "int4", "int2", "int2:channel"] {
        for name in ["llama", "llama_bias", "gemma2", "gemma3_text"] {
            let limit = if format.starts_with("int") { 1700 } else { 2000 };
            let layout = Layout::new(&config(name), &weights(format), &device(limit)).unwrap();
            for matrix in layout.matrices() {
                assert_split(matrix, limit);
            }
            assert!(layout.embedding.shards.len() > 1, "{name} in {format}");
            assert!(layout.head.shards.len() > 1, "{name} in {format}");
            let whole = Layout::new(&config(name), &weights(format), &device(1 << 30)).unwrap();
            assert_eq!(layout.bytes(), whole.bytes(), "{name} in {format}");
        }
    }
}

#[test]
fn shards_have_names_of_their_own() {
    let layout = Layout::new(&config("llama"), &weights("int8"), &device(1700)).unwrap();
    let names: Vec<_> = layout
        .matrices()
        .flat_map(|matrix| (0..matrix.shards.len()).flat_map(|n| matrix.shard_names(n)))
        .collect();
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len());
    assert!(names.contains(&"embedding[1].words".to_owned()), "{names:?}");
}

/// 128 MiB hold every one of them, and all experts of a layer of none.
#[test]
fn published_models_on_default_bindings() {
    for (name, config) in large() {
        let layout = Layout::new(&config, &weights("int4"), &Capabilities::webgpu())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        layout.matrices().for_each(|matrix| assert_split(matrix, 128 << 20));
        let mut stacks = layout.matrices().filter(|matrix| matrix.name.contains("experts.gate_up"));
        assert!(stacks.all(|stack| stack.shards.len() > 1), "{name}");
    }
}

#[test]
fn single_experts_and_single_rows_are_refused() {
    let error = Layout::new(&config("mixtral"), &weights("f32"), &device(80 * 48 * 4 - 1)).unwrap_err();
    let Error::Memory { what, needed_bytes, .. } = &error else { panic!("{error}") };
    // 80 rows of 40 inputs, padded to 48.
    assert_eq!(*needed_bytes, 80 * 48 * 4, "{error}");
    assert!(what.contains("blocks.0.sublayers.1.experts.gate_up"), "{what}");

    let error = Layout::new(&config("llama"), &weights("f32"), &device(4 * 48 * 4 - 1)).unwrap_err();
    let Error::Memory { what, needed_bytes, .. } = &error else { panic!("{error}") };
    assert!(what.contains("'embedding'"), "{what}");
    assert_eq!(*needed_bytes, 4 * 48 * 4);
}

/// A device may have larger bindings than buffers.
#[test]
fn no_shard_is_larger_than_a_buffer() {
    let device = Capabilities { max_buffer_bytes: 2000, ..Capabilities::webgpu() };
    let layout = Layout::new(&config("llama"), &weights("f32"), &device).unwrap();
    for matrix in layout.matrices() {
        assert_split(matrix, 2000);
    }
}

fn session(config: &ModelConfig, context: u32, device: &Capabilities) -> Result<(), Error> {
    let layout = Layout::new(config, &weights("f32"), &Capabilities::webgpu())?;
    let options = SessionOptions::new(context, Sampling::GREEDY);
    SessionPlan::new(config, &layout, device, &options)?.check_limits(device)
}

#[test]
fn a_cache_beyond_a_binding_is_refused_by_name() {
    let model = config("llama");
    assert!(session(&model, 512, &Capabilities::webgpu()).is_ok());
    let error = session(&model, 512, &device(30_000)).unwrap_err();
    let Error::Memory { what, needed_bytes, available_bytes } = &error else { panic!("{error}") };
    // Two heads of 8 elements for 512 tokens.
    assert_eq!((*needed_bytes, *available_bytes), (2 * 8 * 512 * 4, 30_000), "{error}");
    assert!(what.contains("blocks.0.sublayers.0.k_cache"), "{what}");
    // The widest activation: gate and up of 104 for 256 rows.
    let error = session(&model, 512, &device(256 * 104 * 4 - 1)).unwrap_err();
    assert!(matches!(&error, Error::Memory { what, .. } if what.contains("activations")), "{error}");
}
