//! Checkpoints that must not be loaded, or not to the end. What is wrong with files is tested without a GPU.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::ops::{ControlFlow, Range};

use safetensors::tensor::{SafeTensors, TensorView};
use wattle::Error;
use wattle::model::checkpoint::FileReader;
use wattle::model::plan::WeightPlan;
use wattle::model::{LoadOptions, Model, Progress, Session, Source};

use super::harness::{F32, greedy, logits, source};
use crate::harness::{block_on, gpu, own_gpu};
use crate::support::golden::directory;

/// A checkpoint that was never a file.
struct Files(HashMap<&'static str, Vec<u8>>);

impl FileReader for Files {
    fn file_len(&self, file: &str) -> io::Result<u64> {
        self.0.get(file).map(|bytes| bytes.len() as u64).ok_or(io::ErrorKind::NotFound.into())
    }

    fn read(&self, file: &str, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let bytes = self.0.get(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(Cow::Borrowed(&bytes[range.start as usize..range.end as usize]))
    }
}

/// A golden model with one value replaced.
fn with_value(model: &str, tensor: &str, index: usize, value: f32) -> Source {
    let read = |file: &str| std::fs::read(directory().join(model).join(file)).unwrap();
    let bytes = read("model.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    let (_, dtype, _, data) = tensors.iter_mut().find(|(name, ..)| name == tensor).unwrap();
    let bytes = value.to_le_bytes();
    match dtype {
        safetensors::Dtype::F32 => data[4 * index..][..4].copy_from_slice(&bytes),
        safetensors::Dtype::BF16 => data[2 * index..][..2].copy_from_slice(&bytes[2..]),
        other => panic!("{other:?}"),
    }
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let weights = safetensors::serialize(views, None).unwrap();
    let files = [("config.json", read("config.json")), ("model.safetensors", weights)];
    Source::from_reader(Files(files.into_iter().collect())).unwrap()
}

fn load(source: &Source, format: &str, allow_not_finite: bool) -> Result<Model, Error> {
    let plan = WeightPlan::uniform(format.parse().unwrap());
    block_on(Model::load(gpu(), source, LoadOptions { allow_not_finite, ..LoadOptions::new(plan) }))
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_name_and_place() {
    let cases = [
        ("llama", "model.layers.1.mlp.up_proj.weight", 77, f32::NAN),
        ("llama", "model.embed_tokens.weight", 5, f32::INFINITY),
        ("llama", "model.norm.weight", 3, f32::NEG_INFINITY),
        ("llama_bias", "model.layers.0.self_attn.k_proj.bias", 9, f32::NAN),
        ("mixtral", "model.layers.2.block_sparse_moe.experts.7.w2.weight", 1234, f32::NAN),
        ("mixtral", "model.layers.0.block_sparse_moe.gate.weight", 0, f32::NAN),
    ];
    for (model, tensor, index, value) in cases {
        for format in ["f32", "f16", "int4"] {
            let error = load(&with_value(model, tensor, index, value), format, false).err().unwrap();
            let found = matches!(&error, Error::NotFinite { name, index: at, .. } if name == tensor && *at == index as u64);
            assert!(found, "{model} in {format}: {error}");
            let text = format!("'{tensor}' holds {value} at element {index}");
            assert!(error.to_string().contains(&text), "'{error}' does not say '{text}'");
        }
    }
}

#[test]
fn they_are_accepted_where_they_are_asked_for() {
    let source = with_value("llama", "model.layers.1.mlp.up_proj.weight", 77, f32::NAN);
    let model = load(&source, "f32", true).unwrap();
    let mut session = block_on(Session::new(&model, greedy(8))).unwrap();
    block_on(session.feed(&[1, 2, 3])).unwrap();
    assert_eq!(logits(&session).len(), 137);
    // No code stands for them, and the name and the place are those of the file, not of our fused matrices.
    let cases = [
        ("llama", "model.layers.1.mlp.up_proj.weight", 77),
        // Experts in one tensor: inputs before outputs with gate and up in turns, and outputs before inputs, one behind
        // the other.
        ("gpt_oss", "model.layers.1.mlp.experts.gate_up_proj", 2345),
        ("gpt_oss", "model.layers.1.mlp.experts.down_proj", 1234),
        ("gemma4_moe", "model.layers.0.experts.gate_up_proj", 4321),
    ];
    for (model, tensor, index) in cases {
        let source = with_value(model, tensor, index, f32::NAN);
        for format in ["f16", "int8"] {
            let error = load(&source, format, true).err().unwrap();
            let text = format!("'{tensor}' holds NaN at element {index}");
            assert!(error.to_string().contains(&text), "{format}: '{error}' does not say '{text}'");
        }
    }
}

#[test]
fn progress_is_told_to_the_end() {
    let mut seen: Vec<Progress> = Vec::new();
    let mut report = |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    };
    let plan = WeightPlan::uniform("int4".parse().unwrap());
    let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::new(plan) };
    let model = block_on(Model::load(gpu(), &source("mixtral"), options)).unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.done_bytes));
    assert!(seen.iter().all(|progress| progress.total_bytes == model.layout().bytes()));
    let last = seen.last().unwrap();
    assert_eq!(last.done_bytes, last.total_bytes);
}

#[test]
fn loading_stops_when_it_is_told_to() {
    let gpu = own_gpu();
    let allocated = || {
        // What was dropped is freed once the device is polled.
        gpu.device().poll(wattle::wgpu::PollType::wait_indefinitely()).unwrap();
        gpu.device().generate_allocator_report().map(|report| report.total_allocated_bytes)
    };
    let before = allocated();
    let mut calls = 0;
    let mut report = |_| {
        calls += 1;
        if calls == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::new(F32) };
    let error = block_on(Model::load(&gpu, &source("mixtral"), options)).err().unwrap();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
    assert_eq!(error.to_string(), "cancelled while loading 'mixtral'");
    assert_eq!(calls, 20);
    // The driver's own few bytes come and go; the model's first tensor alone has 20 000.
    let (before, after) = (before.unwrap_or(0), allocated().unwrap_or(0));
    assert!(after < before + 4096, "{before} bytes on the device before, {after} after");
}

#[test]
fn a_model_beyond_the_ceiling_is_refused_with_what_it_needs() {
    let gpu = own_gpu();
    let allocated = || gpu.device().generate_allocator_report().map(|report| report.total_allocated_bytes);
    let before = allocated();
    let load = |ceiling| {
        let options = LoadOptions { memory_ceiling: Some(ceiling), ..LoadOptions::new(F32) };
        block_on(Model::load(&gpu, &source("llama"), options))
    };
    let error = load(1000).err().unwrap();
    let Error::Memory { needed_bytes, available_bytes: 1000, .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains(&format!("needs {needed_bytes} bytes")), "{error}");
    assert_eq!(allocated(), before, "bytes on the device");
    assert!(load(needed_bytes - 1).is_err());
    assert_eq!(load(needed_bytes).unwrap().layout().bytes(), needed_bytes);
}
