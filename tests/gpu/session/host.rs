//! Inside a host: its device, its encoder, its buffers, its error handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use wattle::energy::{Ledger, Level};
use wattle::fragments::{InputNorm, Reduce};
use wattle::kernel::{Launch, SPAN_BYTES, Span, span_bytes};
use wattle::kernels::norm::{Norm, NormParams};
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::{LoadOptions, Model, Session, SessionOptions};
use wattle::schedule::execute::Prepared;
use wattle::schedule::memory::MemoryPool;
use wattle::schedule::{Schedule, Site};
use wattle::wgpu::{self, BufferUsages};
use wattle::{Error, Gpu, Tensor};

use super::harness::{F32, assert_row, feed, greedy, load, session, source, submit, tokens, whole, words};
use super::stranger::Stranger;
use crate::harness::block_on;
use crate::support::compare::{Tolerance, assert_close};

/// The host's own kernel: twice the logits, and the token before ours.
const HOST_SHADER: &str = "
    @group(0) @binding(0) var<storage, read> logits: array<f32>;
    @group(0) @binding(1) var<storage, read_write> doubled: array<f32>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < arrayLength(&doubled) {
            doubled[id.x] = 2.0 * logits[id.x];
        }
    }";

/// A host's pass over our logits into its own buffer.
struct HostPass {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    doubled: Tensor,
}

impl HostPass {
    fn new(gpu: &Gpu, logits: &Tensor, count: u64) -> Self {
        let device = gpu.device();
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(HOST_SHADER.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let buffer = host_buffer(device, 4 * count, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
        let doubled = Tensor::over(gpu, &buffer, 0, 4 * count).unwrap();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: binding(logits) },
                wgpu::BindGroupEntry { binding: 1, resource: binding(&doubled) },
            ],
        });
        Self { pipeline, group, doubled }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups((self.doubled.bytes() as u32 / 4).div_ceil(64), 1, 1);
    }
}

/// Everything that a host may do with a buffer it shares.
const SHARED: BufferUsages = BufferUsages::STORAGE
    .union(BufferUsages::UNIFORM)
    .union(BufferUsages::COPY_SRC)
    .union(BufferUsages::COPY_DST);

fn binding(tensor: &Tensor) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: tensor.buffer(),
        offset: tensor.offset(),
        size: wgpu::BufferSize::new(tensor.bytes()),
    })
}

fn host_buffer(device: &wgpu::Device, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

/// A whole conversation in the host's encoder, between passes of its own that read our logits where they are.
#[test]
fn a_host_records_us_between_its_own_passes() {
    for host in [Stranger::plain(), Stranger::obliging()] {
        let gpu = host.gpu();
        let model = load(&gpu, "gemma2", &F32).unwrap();
        let ids = tokens(&model, 12);
        let vocab = model.config().vocab_size as usize;
        let mut session = session(&model, SessionOptions { sampling: None, ..greedy(12) });
        let logits = session.tensor("logits").unwrap().clone();
        let passes = [(); 3].map(|()| HostPass::new(&gpu, &logits, vocab as u64));
        let mut encoder = host.device.create_command_encoder(&Default::default());
        passes[0].record(&mut encoder);
        session.prefill(&mut encoder, &ids[..10], true).unwrap();
        passes[1].record(&mut encoder);
        session.decode_token(&mut encoder, ids[10]).unwrap();
        session.decode_token(&mut encoder, ids[11]).unwrap();
        passes[2].record(&mut encoder);
        host.queue.submit([encoder.finish()]);

        let expected = whole(&model, &ids);
        let found = passes.map(|pass| {
            let doubled: Vec<f32> = block_on(pass.doubled.read(&gpu, 0, vocab)).unwrap();
            doubled.into_iter().map(|logit| logit / 2.0).collect::<Vec<_>>()
        });
        assert_eq!(found[0], vec![0.0; vocab], "before the first pass");
        assert_row("after the prompt", &found[1], &expected, 9);
        assert_row("after two steps", &found[2], &expected, 11);
        host.assert_undisturbed();
    }
}

#[test]
fn hidden_states_stay_where_they_can_be_read() {
    let host = Stranger::plain();
    let model = load(&host.gpu(), "llama", &F32).unwrap();
    let options = SessionOptions { trace: true, logits: LogitRows::All, sampling: None, ..greedy(16) };
    let mut session = session(&model, options);
    feed(&mut session, &tokens(&model, 7));
    let d = model.config().hidden_size as usize;
    let mut seen: Vec<Vec<f32>> = Vec::new();
    let blocks = model.config().blocks.len();
    for name in (0..=blocks).map(|n| format!("hidden.{n}")).chain(["last_block".into()]) {
        let tensor = session.tensor(&name).unwrap_or_else(|| panic!("no tensor '{name}'"));
        let hidden: Vec<f32> = block_on(tensor.read(model.gpu(), 0, 7 * d)).unwrap();
        assert!(hidden.iter().all(|x| x.is_finite()) && hidden.iter().any(|x| *x != 0.0), "{name}");
        assert!(!seen.contains(&hidden), "{name} is another layer's");
        seen.push(hidden);
    }
    // Without a trace only the logits stay.
    assert!(self::session(&model, greedy(16)).tensor("hidden.0").is_none());
    host.assert_undisturbed();
}

/// Logits and caches in the host's own buffers, in the middle of other things.
#[test]
fn a_session_writes_where_the_host_says() {
    let host = Stranger::plain();
    let gpu = host.gpu();
    let model = load(&gpu, "llama", &F32).unwrap();
    let ids = tokens(&model, 9);
    let mut plain = session(&model, greedy(16));
    feed(&mut plain, &ids);
    let expected = words(&gpu, plain.tensor("logits").unwrap());

    let is_mine = |name: &str| name == "logits" || name.ends_with("_cache");
    let mut buffers = Vec::new();
    let mine = |name: &str, bytes: u64| {
        assert!(
            !["span", "token_ids", "next_ids"].contains(&name) && !name.starts_with("rope"),
            "asked for '{name}'"
        );
        is_mine(name).then(|| {
            let buffer = host_buffer(&host.device, 512 + bytes + 256, SHARED);
            buffers.push((name.to_owned(), buffer.clone()));
            Tensor::over(&gpu, &buffer, 512, bytes).unwrap()
        })
    };
    let mut session = block_on(Session::with_tensors(&model, greedy(16), mine)).unwrap();
    feed(&mut session, &ids);
    assert_eq!(buffers.iter().filter(|(name, _)| name == "logits").count(), 1);
    assert!(buffers.len() > 2, "caches are the host's too");
    for (name, buffer) in &buffers {
        let whole = words(&gpu, &Tensor::over(&gpu, buffer, 0, buffer.size()).unwrap());
        let (inside, after) = whole[128..].split_at(whole.len() - 128 - 64);
        assert!(whole[..128].iter().chain(after).all(|word| *word == 0), "'{name}' leaves its place");
        assert!(inside.iter().any(|word| *word != 0), "'{name}' is not where the host said");
        if name == "logits" {
            assert_eq!(inside, expected);
        }
    }
    let small = host_buffer(&host.device, 512, SHARED);
    let too_small = |name: &str, _| (name == "logits").then(|| Tensor::over(&gpu, &small, 0, 16).unwrap());
    let error = block_on(Session::with_tensors(&model, greedy(16), too_small)).err().unwrap();
    assert!(matches!(&error, Error::TensorMismatch { name, .. } if name == "logits"), "{error}");
    host.assert_undisturbed();
}

#[test]
fn tensors_lie_anywhere_in_the_hosts_buffers() {
    let host = Stranger::plain();
    let gpu = host.gpu();
    let [buffer, output] = [8192, 1024].map(|bytes| host_buffer(&host.device, bytes, SHARED));
    let part = |offset| Tensor::over(&gpu, &buffer, offset, 16).unwrap();
    let (x, weight) = (part(256), part(512));
    let span = Tensor::over(&gpu, &buffer, 1280, SPAN_BYTES).unwrap();
    let y = Tensor::over(&gpu, &output, 512, 16).unwrap();
    host.queue.write_buffer(&buffer, 256, bytemuck::cast_slice(&[3.0f32, -3.0, 3.0, -3.0]));
    host.queue.write_buffer(&buffer, 512, bytemuck::cast_slice(&[1.0f32, 2.0, 3.0, 4.0]));
    host.queue.write_buffer(&buffer, 1280, &span_bytes(0, &[Span::of_rows(1).into()]));

    let mut schedule = Schedule::new(1);
    let [at_x, at_weight, at_y] = ["x", "weight", "y"].map(|name| schedule.named(name, 16));
    let variant =
        Norm { norm: InputNorm::Rms, residual: false, kept: false, scaled: false, reduce: Reduce::Workgroup };
    let launch =
        Launch { variant, params: NormParams { in_features: 4, eps: 0.0, rows_per_token: 1, factor: 1.0 } }
            .shared();
    let bound = [("x", at_x), ("norm_weight", at_weight), ("y", at_y)];
    schedule.dispatch(Site { sublayer: None, what: "norm" }, launch, &bound).unwrap();
    let plan = MemoryPool::default().plan(&schedule);
    let named = |name: &str| match name {
        "x" => Some(x.clone()),
        "weight" => Some(weight.clone()),
        _ => Some(y.clone()),
    };
    let prepare = |named: &mut dyn FnMut(&str) -> Option<Tensor>| {
        block_on(Prepared::new(&gpu, schedule.clone(), &plan, &[], &span, named))
    };
    let prepared = prepare(&mut { named }).unwrap_or_else(|error| panic!("{error}"));
    let mut ledger = block_on(Ledger::new(&gpu, Level::Off)).unwrap();
    let mut encoder = host.device.create_command_encoder(&Default::default());
    prepared.encode(&mut encoder, Span { position: 0, rows: 1 }, &mut ledger).unwrap();
    host.queue.submit([encoder.finish()]);
    let found: Vec<f32> = block_on(y.read(&gpu, 0, 4)).unwrap();
    assert_close("norm", &found, &[1.0, -2.0, 3.0, -4.0], Tolerance::Mixed(1e-6, 1e-6));

    let shared = prepare(&mut |name| if name == "y" { Some(part(1024)) } else { named(name) }).err().unwrap();
    assert!(shared.to_string().contains("y: expected a buffer that is not read"), "{shared}");
    let missing = prepare(&mut |name| (name != "weight").then(|| x.clone())).err().unwrap();
    assert!(matches!(&missing, Error::MissingTensor { name } if name == "weight"), "{missing}");
    let short = Tensor::over(&gpu, &buffer, 0, 12).unwrap();
    let short = prepare(&mut |_| Some(short.clone())).err().unwrap();
    assert!(short.to_string().contains("'x': expected 16 bytes, found 12 bytes"), "{short}");
    host.assert_undisturbed();
}

#[test]
fn parts_that_no_kernel_can_use_are_refused() {
    let host = Stranger::plain();
    let gpu = host.gpu();
    let buffer = host_buffer(&host.device, 1024, BufferUsages::STORAGE);
    let cases = [
        (&buffer, 4, 16, "no multiple of 256"),
        (&buffer, 256, 1024, "leave a buffer of 1024"),
        (&buffer, u64::MAX - 255, 512, "leave a buffer"),
        (&buffer, 0, 0, "0 bytes"),
        (&host_buffer(&host.device, 1024, BufferUsages::COPY_DST), 0, 16, "STORAGE"),
    ];
    for (buffer, offset, bytes, word) in cases {
        let error = Tensor::over(&gpu, buffer, offset, bytes).unwrap_err();
        assert!(error.to_string().contains(word), "{bytes} at {offset}: '{error}' does not say '{word}'");
    }
    // It cannot be copied from, and that is our error and not the host's.
    let tensor = Tensor::over(&gpu, &buffer, 0, 16).unwrap();
    let error = block_on(tensor.read::<f32>(&gpu, 0, 4)).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }), "{error}");
    for (first, count) in [(0, 5), (4, 1), (usize::MAX / 8, 2), (usize::MAX, 1)] {
        let error = block_on(tensor.read::<f32>(&gpu, first, count)).unwrap_err();
        assert!(error.to_string().contains("leave a tensor of 16"), "{error}");
    }
    host.assert_undisturbed();
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Nobody polls the device but the future, and whenever it is not done it has asked to be polled again.
#[test]
fn a_read_back_completes_under_any_executor() {
    let host = Stranger::plain();
    let gpu = host.gpu();
    let model = load(&gpu, "llama", &F32).unwrap();
    let mut session = session(&model, greedy(32));
    submit(&gpu, |encoder| {
        session.prefill(encoder, &[1, 2, 3], true)?;
        (0..20).try_for_each(|_| session.decode(encoder))
    });
    let wakes = Arc::new(Wakes::default());
    let waker = wakes.clone().into();
    let mut logits = std::pin::pin!(session.logits(1));
    let mut waited = 0;
    let found = loop {
        match logits.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(found) => break found.unwrap(),
            Poll::Pending => waited += 1,
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), waited, "it is to be asked again");
    };
    assert_eq!(found, block_on(session.logits(1)).unwrap());
}

#[test]
fn what_goes_wrong_comes_back_from_the_call() {
    let host = Stranger::plain();
    let gpu = host.gpu();
    let limit = gpu.capabilities().max_tensor_bytes();
    let error = block_on(gpu.buffer("too much", limit + 1, BufferUsages::STORAGE)).unwrap_err();
    let says = format!("too much: needs {} bytes, {limit} are available", limit + 1);
    assert_eq!(error.to_string(), says);
    let impossible = BufferUsages::MAP_READ | BufferUsages::STORAGE;
    let error = block_on(gpu.buffer("odd", 16, impossible)).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }) && error.to_string().contains("'odd'"), "{error}");
    let wrong = |encoder: &mut wgpu::CommandEncoder| {
        encoder.clear_buffer(&host_buffer(&host.device, 16, BufferUsages::STORAGE), 0, None);
        Ok(())
    };
    let error = block_on(gpu.submit("clearing", wrong)).unwrap_err();
    assert!(error.to_string().starts_with("clearing: "), "{error}");

    let model = load(&gpu, "llama", &F32).unwrap();
    let vocab = model.config().vocab_size;
    let mut session = session(&model, greedy(8));
    assert!(block_on(session.feed(&[0; 9])).is_err());
    assert!(block_on(session.feed(&[vocab])).is_err());
    assert!(block_on(session.logits(2)).is_err(), "there is one row");
    assert!(block_on(session.logits(usize::MAX)).is_err());
    feed(&mut session, &[1, 2, 3]);
    host.assert_undisturbed();
}

/// Two devices, two models, one process: what belongs to one is refused by no accident on the other.
#[test]
fn a_clone_is_all_that_is_kept() {
    let host = Stranger::obliging();
    let model = {
        let gpu = host.gpu();
        block_on(Model::load(&gpu, &source("llama"), LoadOptions::new(F32))).unwrap()
    };
    let mut first = session(&model, greedy(16));
    let mut second =
        block_on(Session::new(&model.clone(), SessionOptions::new(16, Sampling::GREEDY))).unwrap();
    drop(model);
    for session in [&mut first, &mut second] {
        feed(session, &[5, 6, 7]);
    }
    let gpu = first.model().gpu();
    assert_eq!(words(gpu, first.tensor("logits").unwrap()), words(gpu, second.tensor("logits").unwrap()));
    host.assert_undisturbed();
}
