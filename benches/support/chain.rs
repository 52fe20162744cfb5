//! Launches in a row, without a model around them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wattle::energy::{Ledger, Level};
use wattle::kernel::{AnyLaunch, SPAN_BYTES, SequenceSpan, Span, span_bytes};
use wattle::schedule::execute::Prepared;
use wattle::schedule::memory::MemoryPool;
use wattle::schedule::{Schedule, Site};
use wattle::wgpu;
use wattle::{Gpu, Tensor};

use super::{Result, Times};

/// Dispatches that are bound once and run as often as wanted.
pub struct Chain {
    gpu: Gpu,
    prepared: Prepared,
    spans: Vec<Span>,
    ledger: Ledger,
}

/// A launch and the names of its tensors.
pub type Link = (Arc<dyn AnyLaunch>, Vec<(&'static str, String)>);

/// How long a submit took.
#[derive(Clone, Copy)]
pub struct Elapsed {
    /// From recording it to its end, as the host sees it.
    pub wall: Duration,
    /// The dispatches alone, by the device's clock where it has one.
    pub device: Option<Duration>,
}

impl Chain {
    /// Binds launches to tensors. Grids are those of the spans in `grid`; `told` is what the kernels are told.
    pub fn new(
        gpu: &Gpu,
        links: &[Link],
        tensors: &HashMap<String, Tensor>,
        grid: &[Span],
        told: &[SequenceSpan],
    ) -> Result<Self> {
        let mut schedule = Schedule::new(Span::total_rows(grid));
        for (launch, ends) in links {
            let mut bound = Vec::new();
            for (binding, name) in ends {
                let bytes = tensors.get(name).map_or(0, Tensor::bytes);
                bound.push((*binding, schedule.named(name, bytes)));
            }
            schedule.dispatch(Site { sublayer: None, what: "bench" }, launch.clone(), &bound)?;
        }
        let plan = MemoryPool::default().plan(&schedule);
        let told = span_tensor(gpu, told)?;
        let find = |name: &str| tensors.get(name).cloned();
        let prepared = gpu.block_on(Prepared::new(gpu, schedule, &plan, &[], &told, find))?;
        let ledger = gpu.block_on(Ledger::new(gpu, Level::Window))?;
        Ok(Self { gpu: gpu.clone(), prepared, spans: grid.to_vec(), ledger })
    }

    /// Records all of it `times` times, submits, and waits.
    pub fn run(&mut self, times: u64) -> Result<Elapsed> {
        let begin = Instant::now();
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        for _ in 0..times {
            self.prepared.encode(&mut encoder, &self.spans, &mut self.ledger)?;
        }
        self.gpu.queue().submit([encoder.finish()]);
        wait(&self.gpu)?;
        let wall = begin.elapsed();
        self.gpu.block_on(self.ledger.collect(&self.gpu))?;
        let passes = self.ledger.passes().map(|pass| pass.window.duration_ns());
        let device = passes.sum::<Option<u64>>().map(Duration::from_nanos);
        self.ledger.clear();
        Ok(Elapsed { wall, device })
    }

    /// What one run of all launches moves and computes.
    pub fn work(&self) -> wattle::energy::Work {
        self.prepared.schedule().work(&self.spans)
    }
}

/// The median of runs by the device's clock, where it has one.
pub fn median_device(runs: &[Elapsed]) -> Option<Duration> {
    let device: Option<Vec<_>> = runs.iter().map(|run| run.device).collect();
    device.map(|device| Times::new(device).median())
}

/// Waits for everything submitted.
pub fn wait(gpu: &Gpu) -> Result<()> {
    gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
    Ok(gpu.check()?)
}

/// The uniform that tells kernels their rows.
fn span_tensor(gpu: &Gpu, sequences: &[SequenceSpan]) -> Result<Tensor> {
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
    let buffer = gpu.block_on(gpu.buffer("span", SPAN_BYTES, usage))?;
    gpu.queue().write_buffer(&buffer, 0, &span_bytes(0, sequences));
    Ok(Tensor::over(gpu, &buffer, 0, SPAN_BYTES)?)
}
