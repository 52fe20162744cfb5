//! The same model on a GPU or on the CPU reference, driven the same way.

mod on_cpu;
mod on_gpu;

use super::{Arithmetic, Case};
use crate::Result;
use crate::gpu::Gpu;
use crate::model::plan::WeightPlan;
use crate::reference::forward::{RouteTrace, Trace};
use crate::reference::sample::argmax;
pub(super) use on_cpu::{CpuInput, OnCpu};
use on_gpu::OnGpu;

/// Where a case runs.
pub enum Device {
    /// On a GPU.
    Gpu(Gpu),
    /// On the CPU reference.
    Cpu,
}

/// What a run gave, or should give: the prompt of a case, or a walk along its greedy path.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// In a walk, the logits of the prompt's last token and of all that follow.
    pub trace: Trace,
    /// The tokens chosen from the logits; none in a prompt.
    pub tokens: Vec<u32>,
    /// How far roundings alone move the logits of each token at most; nothing where that is not known.
    pub moved: Vec<f64>,
}

/// A loaded model and one sequence of it.
pub(super) enum Runner<'a> {
    Gpu(Box<OnGpu>),
    Cpu(Box<OnCpu<'a>>),
}

impl<'a> Runner<'a> {
    pub(super) async fn new(
        case: &'a Case,
        device: &Device,
        plan: &WeightPlan,
        arithmetic: Arithmetic,
    ) -> Result<Self> {
        match device {
            Device::Cpu => Ok(Self::Cpu(Box::new(OnCpu::new(case, plan, &arithmetic)?))),
            Device::Gpu(gpu) => Ok(Self::Gpu(Box::new(OnGpu::new(case, gpu, plan, arithmetic).await?))),
        }
    }

    /// What the encoder gives for an input, which all prompts from here on attend to.
    pub(super) async fn read(&mut self, ids: &[u32]) -> Result<Run> {
        let trace = match self {
            Self::Cpu(cpu) => {
                cpu.input.ids = ids.to_vec();
                cpu.begin()?
            }
            Self::Gpu(gpu) => gpu.read_input(ids).await?,
        };
        Ok(Run { trace, ..Run::default() })
    }

    /// A prompt from an empty cache, `chunk` tokens at a time. In more than one chunk, the GPU's hidden states are left
    /// where they are.
    pub(super) async fn prompt(&mut self, ids: &[u32], chunk: usize) -> Result<Run> {
        match self {
            Self::Cpu(cpu) => cpu.prompt(ids, chunk),
            Self::Gpu(gpu) => gpu.prompt(ids, chunk).await,
        }
    }

    /// Walks along a path with a cache: at each step the logits and what would be chosen from them.
    pub(super) async fn walk(&mut self, prompt: &[u32], path: &[u32]) -> Result<Run> {
        let mut run = Run::default();
        let mut logits = self.start(prompt).await?;
        for (n, token) in path.iter().enumerate() {
            let chosen = self.choice(&logits).await?;
            run.trace.logits.append(&mut logits);
            run.tokens.push(chosen);
            if n + 1 < path.len() {
                logits = self.step(*token, chosen == *token).await?;
            }
        }
        Ok(run)
    }

    /// The experts that [`Runner::walk`] has chosen on the same way, which it does not keep itself: its memory is that
    /// of an ordinary session.
    pub(super) async fn routes_of_walk(&mut self, prompt: &[u32], path: &[u32]) -> Result<Vec<RouteTrace>> {
        let mut whole = self.prompt(prompt, prompt.len()).await?.trace;
        for token in &path[..path.len().saturating_sub(1)] {
            let step = match self {
                Self::Cpu(cpu) => cpu.step(*token)?,
                Self::Gpu(gpu) => Trace { routes: gpu.routes_of_step(*token).await?, ..Trace::default() },
            };
            join(&mut whole, step);
        }
        Ok(whole.routes)
    }

    /// Dispatches by kernel over everything that ran.
    pub(super) fn dispatches(&mut self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Cpu(_) => Vec::new(),
            Self::Gpu(gpu) => gpu.dispatches(),
        }
    }

    /// Logits after a prompt.
    async fn start(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(cpu) => {
                cpu.begin()?;
                cpu.last_logits(prompt, false)
            }
            Self::Gpu(gpu) => gpu.start(prompt).await,
        }
    }

    /// Logits after one more token, which the device may already hold as its own choice.
    async fn step(&mut self, token: u32, chosen: bool) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(cpu) => cpu.last_logits(&[token], true),
            Self::Gpu(gpu) => gpu.step(token, chosen).await,
        }
    }

    /// The token that the device chose, or the CPU would choose.
    async fn choice(&self, logits: &[f32]) -> Result<u32> {
        match self {
            Self::Cpu(_) => Ok(argmax(logits)),
            Self::Gpu(gpu) => gpu.choice().await,
        }
    }
}

/// Appends the rows of a chunk to those before it.
fn join(whole: &mut Trace, chunk: Trace) {
    if whole.logits.is_empty() {
        *whole = chunk;
        return;
    }
    whole.logits.extend(chunk.logits);
    whole.last_block.extend(chunk.last_block);
    whole.hidden.iter_mut().zip(chunk.hidden).for_each(|(layer, more)| layer.extend(more));
    for (route, more) in whole.routes.iter_mut().zip(chunk.routes) {
        route.logits.extend(more.logits);
        route.keys.extend(more.keys);
        route.next_groups.extend(more.next_groups);
        route.margins.extend(more.margins);
        route.experts.extend(more.experts);
        route.weights.extend(more.weights);
    }
}
