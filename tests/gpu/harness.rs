//! One dispatch on the device, twice, with the surroundings of its tensors watched.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex};

use wattle::energy::{Ledger, Level};
use wattle::fragments::InputNorm;
use wattle::kernel::{AnyLaunch, BindingKind, Kernel, Launch, SPAN_BYTES, SequenceSpan, Span, span_bytes};
use wattle::kernels::norm::{Norm, NormParams};
use wattle::schedule::execute::Prepared;
use wattle::schedule::memory::MemoryPool;
use wattle::schedule::{Schedule, Site};
use wattle::shader::Needs;
use wattle::wgpu::BufferUsages;
use wattle::{Error, Gpu, Result, Tensor};

pub use crate::device::{gpu, own_gpu};
use crate::support::compare::{Tolerance, assert_close, assert_same};

/// What an output holds before a kernel writes it, and what stands behind every tensor: a NaN, and no useful index.
pub const POISON: u32 = 0x7fc0_dead;
/// Poisoned words behind every tensor: a kernel that reads on gets NaN, one that writes on is found out.
const GUARD: usize = 64;

/// Waits for what happens on this test's device, or on another.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    gpu().block_on(future)
}

/// Whether the device has what a variant needs.
pub fn is_supported<K: Kernel>(variant: &K) -> bool {
    gpu().capabilities().has(variant.source().needs())
}

/// A call of `rows` rows from `position` on.
pub fn span(position: usize, rows: usize) -> Span {
    Span { position: position as u32, rows: rows as u32 }
}

/// A row of each of so many sequences, which lie the other way round.
pub fn in_other_order(position: usize, rows: usize) -> Vec<SequenceSpan> {
    let of_row = |row: usize| SequenceSpan {
        first_row: row as u32,
        sequence: (rows - 1 - row) as u32,
        ..span(position, 1).into()
    };
    (0..rows).map(of_row).collect()
}

/// A dispatch to be: a kernel variant and what its bindings hold.
pub struct Run {
    launch: Arc<dyn AnyLaunch>,
    what: String,
    spans: Vec<SequenceSpan>,
    tensors: Vec<(&'static str, Vec<u32>)>,
}

/// What a dispatch wrote.
pub struct Outputs {
    what: String,
    tensors: Vec<(&'static str, Vec<u32>)>,
}

impl Run {
    /// `what` tells this case apart from others of the variant: shapes and seeds.
    pub fn new<K: Kernel>(variant: K, params: K::Params, span: Span, what: impl Display) -> Self {
        let launch = Launch { variant, params }.shared();
        let what = format!("{}\n  {what}, {span:?}, {:?}\n ", launch.source(), params);
        Self { launch, what, spans: vec![span.into()], tensors: Vec::new() }
    }

    /// Tokens sampled so far, and the seed of the noise.
    pub fn noise(mut self, step: u32, seed: u32) -> Self {
        self.spans.iter_mut().for_each(|span| (span.step, span.seed) = (step, seed));
        self
    }

    /// The task of the sequence.
    pub fn task(mut self, task: u32) -> Self {
        self.spans.iter_mut().for_each(|span| span.task = task);
        self
    }

    /// Several sequences in place of one.
    pub fn sequences(self, spans: Vec<SequenceSpan>) -> Self {
        Self { spans, ..self }
    }

    /// The contents of a binding; an output that has some is updated.
    pub fn with<T: bytemuck::NoUninit>(mut self, name: &'static str, data: &[T]) -> Self {
        self.tensors.push((name, bytemuck::cast_slice(data).to_vec()));
        self
    }

    /// An output of so many words, each of which is expected to be written.
    pub fn out(mut self, name: &'static str, words: usize) -> Self {
        self.tensors.push((name, vec![POISON; words]));
        self
    }

    /// Runs it twice and asserts that both gave the same bits.
    pub fn go(self) -> Outputs {
        // What every device must run runs on a device without optional features.
        let gpu = gpu().with_baseline(self.launch.source().needs() == Needs::NONE);
        record(self.launch.as_ref());
        let once = || block_on(self.once(&gpu)).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let (mut first, second) = (once(), once());
        for ((name, first), (_, second)) in first.iter_mut().zip(&second) {
            assert_same(&format!("{} {name}, second run against first", self.what), second, first);
            let guard = first.split_off(first.len() - GUARD);
            assert_same(&format!("{} words behind {name}", self.what), &guard, &[POISON; GUARD]);
        }
        Outputs { what: self.what, tensors: first }
    }

    async fn once(&self, gpu: &Gpu) -> Result<Vec<(&'static str, Vec<u32>)>> {
        let mut schedule = Schedule::new(self.spans.iter().map(|span| span.rows).sum());
        let mut uploaded = Vec::new();
        let mut bound = Vec::new();
        for (name, words) in &self.tensors {
            let guarded = [&words[..], &[POISON; GUARD]].concat();
            bound.push((*name, schedule.named(*name, 4 * guarded.len() as u64)));
            uploaded.push((*name, Tensor::upload(gpu, name, &guarded).await?, guarded.len()));
        }
        schedule.dispatch(Site { sublayer: None, what: "test" }, self.launch.clone(), &bound)?;
        let named =
            |name: &str| uploaded.iter().find(|(n, ..)| *n == name).map(|(_, tensor, _)| tensor.clone());
        let spans: Vec<Span> = self.spans.iter().map(|span| span.span()).collect();
        repeat(gpu, schedule, &spans, &span_tensor(gpu, &self.spans).await?, 1, named).await?;
        let bindings = self.launch.bindings();
        let is_output = |name| bindings.iter().any(|b| b.name == name && b.kind == BindingKind::Write);
        let mut outputs = Vec::new();
        for (name, tensor, words) in uploaded.iter().filter(|(name, ..)| is_output(*name)) {
            outputs.push((*name, tensor.read(gpu, 0, *words).await?));
        }
        Ok(outputs)
    }
}

impl Outputs {
    /// An output of integers.
    pub fn words(&self, name: &str) -> &[u32] {
        let found = self.tensors.iter().find(|(n, _)| *n == name);
        &found.unwrap_or_else(|| panic!("{}: no output is called '{name}'", self.what)).1
    }

    /// An output of floats.
    pub fn floats(&self, name: &str) -> &[f32] {
        bytemuck::cast_slice(self.words(name))
    }

    /// Asserts that an output is what it should be but for rounding; NaN is expected where nothing is to be written.
    #[track_caller]
    pub fn close(&self, name: &str, expected: &[f32], tolerance: Tolerance) {
        assert_close(&format!("{} {name}", self.what), self.floats(name), expected, tolerance);
    }

    /// Asserts that an output is what it should be.
    #[track_caller]
    pub fn same<T: bytemuck::AnyBitPattern + PartialEq + std::fmt::Debug>(&self, name: &str, expected: &[T]) {
        assert_same(&format!("{} {name}", self.what), bytemuck::cast_slice(self.words(name)), expected);
    }

    /// The case, for messages.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// The uniform of a call, whole, as words.
pub fn span_words(spans: &[SequenceSpan]) -> Vec<u32> {
    let mut bytes = span_bytes(0, spans);
    bytes.resize(SPAN_BYTES as usize, 0);
    bytemuck::pod_collect_to_vec(&bytes)
}

/// The uniform of a call.
pub async fn span_tensor(gpu: &Gpu, spans: &[SequenceSpan]) -> Result<Tensor> {
    let usage =
        BufferUsages::UNIFORM | BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
    let buffer = gpu.buffer("span", SPAN_BYTES, usage).await?;
    gpu.queue().write_buffer(&buffer, 0, &span_bytes(0, spans));
    Tensor::over(gpu, &buffer, 0, SPAN_BYTES)
}

/// Runs a schedule of named tensors so many times in one submission.
pub async fn repeat(
    gpu: &Gpu,
    schedule: Schedule,
    spans: &[Span],
    span_tensor: &Tensor,
    times: u32,
    named: impl FnMut(&str) -> Option<Tensor>,
) -> Result<()> {
    let plan = MemoryPool::default().plan(&schedule);
    let prepared = Prepared::new(gpu, schedule, &plan, &[], span_tensor, named).await?;
    let mut ledger = Ledger::new(gpu, Level::Off).await?;
    let encode = |encoder: &mut wattle::wgpu::CommandEncoder| {
        (0..times).try_for_each(|_| prepared.encode(encoder, spans, &mut ledger))
    };
    gpu.submit("test", encode).await
}

/// Adds a variant to this process's list in `WATTLE_VARIANTS_DIR`.
pub fn record(launch: &dyn AnyLaunch) {
    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let Some(folder) = std::env::var_os("WATTLE_VARIANTS_DIR") else { return };
    let line = format!("{}\t{}\n", launch.name(), launch.source());
    let mut seen = SEEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if seen.get_or_insert_default().insert(line.clone()) {
        let path = std::path::Path::new(&folder).join(format!("gpu-{}.txt", std::process::id()));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Also when the pipeline is there, built for the same device with the feature.
#[test]
fn a_device_without_a_feature_refuses_what_needs_it() {
    let norms = Norm::variants().into_iter().filter(|norm| norm.norm == InputNorm::Rms && !norm.residual);
    for variant in norms.filter(is_supported) {
        let params = NormParams { in_features: 1, eps: 0.0, rows_per_token: 1, factor: 1.0 };
        let run =
            Run::new(variant, params, span(0, 1), "").with("x", &[1.0f32]).with("norm_weight", &[1.0f32]);
        let run = run.out("y", 1);
        let refused = |gpu: Gpu| matches!(block_on(run.once(&gpu)), Err(Error::Shader { .. }));
        assert!(!refused(gpu().with_baseline(false)), "{variant:?}");
        let needs_more = variant.source().needs() != Needs::NONE;
        assert_eq!(refused(gpu().with_baseline(true)), needs_more, "{variant:?}");
    }
}
