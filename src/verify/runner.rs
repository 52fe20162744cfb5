//! The same model on a GPU or on the CPU reference, driven the same way.

use super::{Arithmetic, Case, Prompt};
use crate::energy::Level;
use crate::gpu::{Capabilities, Gpu};
use crate::model::config::ModelConfig;
use crate::model::forward::{LogitRows, Sampling};
use crate::model::plan::WeightPlan;
use crate::model::slot::{Stack, router_parts};
use crate::model::{LoadOptions, Model, Session, SessionOptions};
use crate::reference::forward::{
    Cache, Conditions, RouteTrace, Trace, encode, encode_with_experts, forward, forward_with_experts,
    routed_layers_of,
};
use crate::reference::moe::{Chosen, Router};
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

pub(super) struct OnGpu {
    as_trained: bool,
    /// What an encoder reads before every prompt; nothing where there is none.
    input: Vec<u32>,
    prompts: Session,
    decode: Session,
}

pub(super) struct OnCpu<'a> {
    config: &'a ModelConfig,
    pub(super) conditions: Conditions,
    weights: Weights,
    cache: Cache,
    pub(super) input: CpuInput,
}

/// What an encoder reads before every prompt; nothing where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct CpuInput {
    pub ids: Vec<u32>,
    /// What was chosen elsewhere, by layer.
    pub routes: Option<Vec<RouteTrace>>,
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
            Device::Gpu(gpu) => {
                let model = Model::load(gpu, &case.source, LoadOptions::new(plan.clone())).await?;
                // No room to spare: the caches must hold exactly what the prompts and their continuations need.
                let needed = |prompt: &Prompt| prompt.ids.len().max(prompt.begin + prompt.greedy_ids.len());
                let needed = case.prompts.iter().map(needed).max();
                let inputs = case.prompts.iter().flat_map(|prompt| &prompt.input);
                let input = inputs.map(|input| input.ids.len()).max();
                let context = needed.map_or(1, |tokens| tokens as u32);
                let longest = case.prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(1) as u32;
                let decode = SessionOptions {
                    max_chunk: longest,
                    encoder_tokens: input.map_or(context, |tokens| tokens as u32),
                    // The whole prompt is one pass, whatever it costs.
                    chunk_ops: u64::MAX,
                    ledger: Level::Counts,
                    path: arithmetic.path,
                    tuning: arithmetic.tuning,
                    cache: arithmetic.cache,
                    training: case.conditions.training,
                    task: case.conditions.task,
                    ..SessionOptions::new(context, Sampling::GREEDY)
                };
                let prompts =
                    SessionOptions { logits: LogitRows::All, trace: true, sampling: None, ..decode.clone() };
                let (prompts, decode) =
                    (Session::new(&model, prompts).await?, Session::new(&model, decode).await?);
                let as_trained = case.conditions.training.is_some();
                Ok(Self::Gpu(Box::new(OnGpu { as_trained, input: Vec::new(), prompts, decode })))
            }
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
            join(
                &mut whole,
                match self {
                    Self::Cpu(cpu) => {
                        cpu.cache.set_step(true);
                        forward(cpu.config, &cpu.weights, &mut cpu.cache, &[*token])?
                    }
                    Self::Gpu(gpu) => Trace { routes: gpu.routes_of_step(*token).await?, ..Trace::default() },
                },
            );
        }
        Ok(whole.routes)
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
                cpu.begin()?;
                cpu.last_logits(prompt, false)
            }
            Self::Gpu(gpu) => {
                gpu.decode.reset();
                if !gpu.input.is_empty() {
                    gpu.decode.read(&gpu.input).await?;
                }
                gpu.decode.feed(prompt).await?;
                gpu.decode.logits(1).await
            }
        }
    }

    /// Logits after one more token, which the device may already hold as its own choice.
    async fn step(&mut self, token: u32, chosen: bool) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(cpu) => cpu.last_logits(&[token], true),
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

impl<'a> OnCpu<'a> {
    pub(super) fn new(case: &'a Case, plan: &WeightPlan, arithmetic: &Arithmetic) -> Result<Self> {
        let config = &case.source.config;
        let source = &case.source;
        // What no device would take is refused here as well.
        source.layout(plan, &Capabilities::unlimited())?;
        let fetch = |slot, shape: &[usize]| source.fetch(slot, shape);
        let learned = |slot, shapes: &[Vec<usize>]| source.fetch_learned(slot, shapes);
        let weights = Weights::build_learned(config, plan, arithmetic.path, fetch, learned)?;
        let conditions = Conditions { cache: arithmetic.cache, ..case.conditions };
        let (cache, input) = (Cache::under(config, conditions), CpuInput::default());
        Ok(Self { config, conditions, weights, cache, input })
    }

    /// An empty cache, or what the encoder makes of its input; with what the encoder computed.
    pub(super) fn begin(&mut self) -> Result<Trace> {
        let (cache, trace) = self.begun()?;
        self.cache = cache;
        Ok(trace)
    }

    fn begun(&self) -> Result<(Cache, Trace)> {
        let mut cache = Cache::under(self.config, self.conditions);
        let CpuInput { ids, routes } = &self.input;
        let trace = match routes {
            _ if ids.is_empty() => Trace::default(),
            None => encode(self.config, &self.weights, &mut cache, ids)?,
            Some(routes) => {
                encode_with_experts(self.config, &self.weights, &mut cache, ids, &chosen(routes))?
            }
        };
        Ok((cache, trace))
    }

    pub(super) fn prompt(&mut self, ids: &[u32], chunk: usize) -> Result<Run> {
        self.begin()?;
        let mut trace = Trace::default();
        for ids in ids.chunks(chunk) {
            join(&mut trace, forward(self.config, &self.weights, &mut self.cache, ids)?);
        }
        Ok(Run { trace, ..Run::default() })
    }

    /// The greedy continuation of a prompt and the logits it was chosen from.
    pub(super) fn greedy_path(&mut self, prompt: &[u32], count: usize) -> Result<Run> {
        let mut run = Run::default();
        self.begin()?;
        let mut logits = self.last_logits(prompt, false)?;
        while run.tokens.len() < count {
            let token = argmax(&logits);
            run.tokens.push(token);
            run.trace.logits.append(&mut logits);
            if run.tokens.len() < count {
                logits = self.last_logits(&[token], true)?;
            }
        }
        Ok(run)
    }

    /// What tokens give with experts that were chosen elsewhere.
    pub(super) fn follow(&self, ids: &[u32], routes: &[RouteTrace]) -> Result<Trace> {
        let (mut cache, _) = self.begun()?;
        forward_with_experts(self.config, &self.weights, &mut cache, ids, &chosen(routes))
    }

    /// Of a prompt, or of a step.
    fn last_logits(&mut self, ids: &[u32], is_step: bool) -> Result<Vec<f32>> {
        self.cache.set_step(is_step);
        let mut logits = forward(self.config, &self.weights, &mut self.cache, ids)?.logits;
        Ok(logits.split_off(logits.len() - self.config.vocab_size as usize))
    }
}

impl OnGpu {
    async fn prompt(&mut self, ids: &[u32], chunk: usize) -> Result<Run> {
        self.prompts.reset();
        if !self.input.is_empty() {
            self.prompts.read(&self.input).await?;
        }
        let mut trace = Trace::default();
        for part in ids.chunks(chunk) {
            join(&mut trace, self.trace(part, chunk >= ids.len()).await?);
        }
        Ok(Run { trace, ..Run::default() })
    }

    /// What the encoder leaves of an input.
    async fn read_input(&mut self, ids: &[u32]) -> Result<Trace> {
        self.input = ids.to_vec();
        self.prompts.read(ids).await?;
        let config = self.prompts.model().config();
        let (layers, count) =
            (config.blocks_of(Stack::Encoder).len(), ids.len() * config.hidden_size as usize);
        let mut trace = Trace::default();
        for layer in 0..=layers {
            trace.hidden.push(self.read(&format!("encoder.hidden.{layer}"), count).await?);
        }
        trace.last_block = self.read("encoder.last_block", count).await?;
        trace.routes = self.routes(Stack::Encoder, ids.len()).await?;
        Ok(trace)
    }

    /// One chunk with its logits and routes, and with `hidden` everything else that it leaves behind.
    async fn trace(&mut self, ids: &[u32], hidden: bool) -> Result<Trace> {
        let model = self.prompts.model().clone();
        let config = model.config();
        model.gpu().submit("prefill", |encoder| self.prompts.prefill(encoder, ids, true)).await?;
        let streams = config.streams.map_or(1, |streams| streams.count as usize);
        let row = streams * config.hidden_size as usize;
        let mut trace = Trace::default();
        if hidden {
            trace.last_block = self.read("last_block", ids.len() * row).await?;
            for layer in 0..config.blocks.len() {
                trace.hidden.push(self.read(&format!("hidden.{layer}"), ids.len() * row).await?);
            }
            // The last block's output is recorded before the final norm, under a name of its own. Of several streams it is all
            // there is.
            let last = match config.streams {
                Some(_) => trace.last_block.clone(),
                None => self.read(&format!("hidden.{}", config.blocks.len()), ids.len() * row).await?,
            };
            trace.hidden.push(last);
        }
        trace.logits = self.read("logits", ids.len() * config.vocab_size as usize).await?;
        trace.routes = self.routes(Stack::Decoder, ids.len()).await?;
        Ok(trace)
    }

    /// The experts that one more token of the traced session chooses.
    async fn routes_of_step(&mut self, token: u32) -> Result<Vec<RouteTrace>> {
        let gpu = self.prompts.model().gpu().clone();
        gpu.submit("decode", |encoder| self.prompts.decode_token(encoder, token)).await?;
        self.routes(Stack::Decoder, 1).await
    }

    /// What the routers of a stack's last pass computed.
    async fn routes(&self, stack: Stack, rows: usize) -> Result<Vec<RouteTrace>> {
        let mut routes = Vec::new();
        for (place, experts) in routed_layers_of(self.prompts.model().config(), stack, self.as_trained) {
            let at = |part: &str| place.name(part);
            let (count, top_k) = (experts.count as usize, experts.top_k as usize);
            // Behind the logits stands what else reads the router's input.
            let columns = router_parts(experts).iter().map(|(_, rows)| *rows as usize).sum();
            let logits: Vec<f32> = self.read(&at("router_logits"), rows * columns).await?;
            let logits: Vec<f32> =
                logits.chunks_exact(columns).flat_map(|row| &row[..count]).copied().collect();
            let chosen: Vec<u32> = self.read(&at("expert_of_slot"), rows * top_k).await?;
            routes.push(RouteTrace {
                keys: Vec::new(),
                next_groups: Vec::new(),
                margins: Router::new(experts.routing, count, top_k).margins(&logits, &chosen),
                logits,
                experts: chosen,
                weights: self.read(&at("weight_of_slot"), rows * top_k).await?,
                top_k,
            });
        }
        Ok(routes)
    }

    async fn read<T: bytemuck::Pod>(&self, name: &str, count: usize) -> Result<Vec<T>> {
        let tensor = self.prompts.tensor(name).ok_or_else(|| Error::MissingTensor { name: name.into() })?;
        tensor.read(self.prompts.model().gpu(), 0, count).await
    }
}

/// What each layer's router chose.
fn chosen(routes: &[RouteTrace]) -> Vec<Chosen<'_>> {
    routes.iter().map(|route| Chosen { experts: &route.experts, margins: &route.margins }).collect()
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
