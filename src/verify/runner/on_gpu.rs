//! A loaded model and one sequence of it on a GPU.

use super::{Run, join};
use crate::energy::Level;
use crate::gpu::Gpu;
use crate::model::forward::{LogitRows, Sampling};
use crate::model::plan::WeightPlan;
use crate::model::slot::{Stack, router_parts};
use crate::model::{LoadOptions, Model, Session, SessionOptions};
use crate::reference::forward::{RouteTrace, Trace, routed_layers_of};
use crate::reference::moe::Router;
use crate::verify::{Arithmetic, Case, Prompt};
use crate::{Error, Result};

pub(in crate::verify) struct OnGpu {
    as_trained: bool,
    /// What an encoder reads before every prompt; nothing where there is none.
    input: Vec<u32>,
    prompts: Session,
    decode: Session,
}

impl OnGpu {
    pub(super) async fn new(
        case: &Case,
        gpu: &Gpu,
        plan: &WeightPlan,
        arithmetic: Arithmetic,
    ) -> Result<Self> {
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
        let (prompts, decode) = (Session::new(&model, prompts).await?, Session::new(&model, decode).await?);
        let as_trained = case.conditions.training.is_some();
        Ok(Self { as_trained, input: Vec::new(), prompts, decode })
    }

    /// Dispatches by kernel over everything that ran.
    pub(super) fn dispatches(&mut self) -> Vec<(&'static str, u64)> {
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for ledger in [self.prompts.ledger(), self.decode.ledger()] {
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
    pub(super) async fn start(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.decode.reset();
        if !self.input.is_empty() {
            self.decode.read(&self.input).await?;
        }
        self.decode.feed(prompt).await?;
        self.decode.logits(1).await
    }

    /// Logits after one more token, which the device may already hold as its own choice.
    pub(super) async fn step(&mut self, token: u32, chosen: bool) -> Result<Vec<f32>> {
        let session = &mut self.decode;
        let device = session.model().gpu().clone();
        let record = |encoder: &mut wgpu::CommandEncoder| match chosen {
            true => session.decode(encoder),
            false => session.decode_token(encoder, token),
        };
        device.submit("decode", record).await?;
        session.logits(1).await
    }

    /// The token that was chosen last.
    pub(super) async fn choice(&self) -> Result<u32> {
        self.decode.last_sample().await
    }

    pub(super) async fn prompt(&mut self, ids: &[u32], chunk: usize) -> Result<Run> {
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
    pub(super) async fn read_input(&mut self, ids: &[u32]) -> Result<Trace> {
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
    pub(super) async fn routes_of_step(&mut self, token: u32) -> Result<Vec<RouteTrace>> {
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
