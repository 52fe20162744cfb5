//! The same model on a GPU or on the CPU reference, driven the same way.

use super::compare::TOKEN_MARGIN;
use super::{Case, Report};
use crate::energy::Level;
use crate::gpu::Gpu;
use crate::model::config::{ModelConfig, Op};
use crate::model::forward::{LogitRows, Sampling};
use crate::model::plan::WeightPlan;
use crate::model::slot::Place;
use crate::model::{LoadOptions, Model, Session, SessionOptions, Source};
use crate::reference::forward::{Cache, RouteTrace, Trace, forward};
use crate::reference::sample::argmax;
use crate::reference::weights::Weights;
use crate::{Error, Result};

/// Where a case runs.
pub enum Device {
    /// On a GPU.
    Gpu(Gpu),
    /// On the CPU reference.
    Cpu,
}

/// A loaded model and one sequence of it.
pub(super) enum Runner<'a> {
    Gpu(Box<OnGpu>),
    Cpu(Box<OnCpu<'a>>),
}

pub(super) struct OnGpu {
    prompts: Session,
    decode: Session,
}

pub(super) struct OnCpu<'a> {
    config: &'a ModelConfig,
    weights: Weights,
    cache: Cache,
}

impl<'a> Runner<'a> {
    pub(super) async fn new(case: &'a Case, device: &Device, plan: &WeightPlan) -> Result<Self> {
        let Source { config, .. } = &case.source;
        match device {
            Device::Cpu => {
                let weights = Weights::build(config, plan, |slot, shape| case.source.fetch(slot, shape))?;
                Ok(Self::Cpu(Box::new(OnCpu { config, weights, cache: Cache::new(config) })))
            }
            Device::Gpu(gpu) => {
                let model = Model::load(gpu, &case.source, LoadOptions::new(*plan)).await?;
                // No room to spare: the caches must hold exactly what the prompts and their continuations need.
                let needed =
                    case.prompts.iter().map(|prompt| prompt.ids.len() + prompt.greedy_ids.len()).max();
                let context = needed.map_or(1, |tokens| tokens as u32);
                let longest = case.prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(1) as u32;
                let decode = SessionOptions {
                    max_chunk: longest,
                    ledger: Level::Counts,
                    ..SessionOptions::new(context, Sampling::GREEDY)
                };
                let prompts =
                    SessionOptions { logits: LogitRows::All, trace: true, sampling: None, ..decode.clone() };
                let (prompts, decode) =
                    (Session::new(&model, prompts).await?, Session::new(&model, decode).await?);
                Ok(Self::Gpu(Box::new(OnGpu { prompts, decode })))
            }
        }
    }

    /// A prompt from an empty cache, `chunk` tokens at a time. In more than one chunk, the GPU's hidden states are left
    /// where they are.
    pub(super) async fn prompt(&mut self, ids: &[u32], chunk: usize) -> Result<Trace> {
        let mut whole = Trace::default();
        match self {
            Self::Cpu(cpu) => {
                cpu.cache = Cache::new(cpu.config);
                for ids in ids.chunks(chunk) {
                    join(&mut whole, forward(cpu.config, &cpu.weights, &mut cpu.cache, ids)?);
                }
            }
            Self::Gpu(gpu) => {
                gpu.prompts.reset();
                let hidden = chunk >= ids.len();
                for ids in ids.chunks(chunk) {
                    join(&mut whole, gpu.trace(ids, hidden).await?);
                }
            }
        }
        Ok(whole)
    }

    /// The greedy continuation of a prompt and the logits it was chosen from.
    pub(super) async fn greedy_path(&mut self, prompt: &[u32], count: usize) -> Result<(Vec<u32>, Vec<f32>)> {
        let (mut tokens, mut all) = (Vec::new(), Vec::new());
        let mut logits = self.start(prompt).await?;
        while tokens.len() < count {
            tokens.push(argmax(&logits));
            all.append(&mut logits);
            if tokens.len() < count {
                logits = self.step(tokens[tokens.len() - 1], true).await?;
            }
        }
        Ok((tokens, all))
    }

    /// Walks a greedy path with a cache, and compares tokens and logits at each step. Where the path itself was all
    /// but undecided, another token is a tie, and the walk stays on the path.
    pub(super) async fn follow(
        &mut self,
        prompt: &[u32],
        tokens: &[u32],
        logits: &[f32],
        report: &mut Report,
    ) -> Result<()> {
        let vocab = logits.len() / tokens.len().max(1);
        let mut found = self.start(prompt).await?;
        for (n, (token, expected)) in tokens.iter().zip(logits.chunks_exact(vocab.max(1))).enumerate() {
            super::compare::compare_logits(&mut report.logits, expected, &found);
            let chosen = self.choice(&found).await?;
            if chosen == *token {
                report.tokens.equal += 1;
            } else if lead(expected) < TOKEN_MARGIN {
                report.tokens.near_ties += 1;
            } else {
                report.tokens.differ += 1;
            }
            if n + 1 < tokens.len() {
                found = self.step(*token, chosen == *token).await?;
            }
        }
        Ok(())
    }

    /// Dispatches by kernel over everything that ran.
    pub(super) fn dispatches(&mut self) -> Vec<(&'static str, u64)> {
        let Self::Gpu(gpu) = self else { return Vec::new() };
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for ledger in [gpu.prompts.ledger(), gpu.decode.ledger()] {
            for total in ledger.by_kernel() {
                match sums.iter_mut().find(|(kernel, _)| *kernel == total.kernel) {
                    Some((_, calls)) => *calls += total.calls,
                    None => sums.push((total.kernel, total.calls)),
                }
            }
        }
        sums.sort_unstable();
        sums
    }

    /// Logits after a prompt.
    async fn start(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(cpu) => {
                cpu.cache = Cache::new(cpu.config);
                cpu.last_logits(prompt)
            }
            Self::Gpu(gpu) => {
                gpu.decode.reset();
                gpu.decode.feed(prompt).await?;
                gpu.decode.logits(1).await
            }
        }
    }

    /// Logits after one more token, which the device may already hold as its own choice.
    async fn step(&mut self, token: u32, chosen: bool) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(cpu) => cpu.last_logits(&[token]),
            Self::Gpu(gpu) => {
                let session = &mut gpu.decode;
                let device = session.model().gpu().clone();
                let record = |encoder: &mut wgpu::CommandEncoder| match chosen {
                    true => session.decode(encoder),
                    false => session.decode_token(encoder, token),
                };
                device.submit("decode", record).await?;
                session.logits(1).await
            }
        }
    }

    /// The token that the device chose, or the CPU would choose.
    async fn choice(&self, logits: &[f32]) -> Result<u32> {
        match self {
            Self::Cpu(_) => Ok(argmax(logits)),
            Self::Gpu(gpu) => gpu.decode.last_sample().await,
        }
    }
}

impl OnCpu<'_> {
    fn last_logits(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        let mut logits = forward(self.config, &self.weights, &mut self.cache, ids)?.logits;
        Ok(logits.split_off(logits.len() - self.config.vocab_size as usize))
    }
}

impl OnGpu {
    /// One chunk with its logits and routes, and with `hidden` everything else that it leaves behind.
    async fn trace(&mut self, ids: &[u32], hidden: bool) -> Result<Trace> {
        let model = self.prompts.model().clone();
        let config = model.config();
        model.gpu().submit("prefill", |encoder| self.prompts.prefill(encoder, ids, true)).await?;
        let d = config.hidden_size as usize;
        let mut trace = Trace::default();
        if hidden {
            for layer in 0..=config.blocks.len() {
                // The last block's output is recorded before the final norm, under a name of its own.
                trace.hidden.push(self.read(&format!("hidden.{layer}"), ids.len() * d).await?);
            }
            trace.last_block = self.read("last_block", ids.len() * d).await?;
        }
        trace.logits = self.read("logits", ids.len() * config.vocab_size as usize).await?;
        for (block, sublayer, layer) in config.sublayers() {
            let Op::Experts(experts) = &layer.op else { continue };
            let at = |part: &str| Place::SubLayer { block, sublayer }.name(part);
            let (count, top_k) = (experts.count as usize, experts.top_k as usize);
            trace.routes.push(RouteTrace {
                logits: self.read(&at("router_logits"), ids.len() * count).await?,
                experts: self.read(&at("expert_of_slot"), ids.len() * top_k).await?,
                weights: self.read(&at("weight_of_slot"), ids.len() * top_k).await?,
                top_k,
            });
        }
        Ok(trace)
    }

    async fn read<T: bytemuck::Pod>(&self, name: &str, count: usize) -> Result<Vec<T>> {
        let tensor = self.prompts.tensor(name).ok_or_else(|| Error::MissingTensor { name: name.into() })?;
        tensor.read(self.prompts.model().gpu(), 0, count).await
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
        route.experts.extend(more.experts);
        route.weights.extend(more.weights);
    }
}

/// Lead of the largest logit over the next.
fn lead(logits: &[f32]) -> f32 {
    let best = argmax(logits);
    let others = logits.iter().enumerate().filter(|(n, _)| *n != best as usize).map(|(_, logit)| *logit);
    logits[best as usize] - others.fold(f32::NEG_INFINITY, f32::max)
}
