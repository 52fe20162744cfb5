//! A loaded model and one sequence of it on the CPU reference.

use super::{Run, join};
use crate::Result;
use crate::gpu::Capabilities;
use crate::model::config::ModelConfig;
use crate::model::plan::WeightPlan;
use crate::reference::forward::{
    Cache, Conditions, RouteTrace, Trace, encode, encode_with_experts, forward, forward_with_experts,
};
use crate::reference::moe::Chosen;
use crate::reference::sample::argmax;
use crate::reference::weights::Weights;
use crate::verify::{Arithmetic, Case};

pub(in crate::verify) struct OnCpu<'a> {
    config: &'a ModelConfig,
    pub(in crate::verify) conditions: Conditions,
    weights: Weights,
    cache: Cache,
    pub(in crate::verify) input: CpuInput,
}

/// What an encoder reads before every prompt; nothing where there is none.
#[derive(Clone, Debug, Default)]
pub(in crate::verify) struct CpuInput {
    pub ids: Vec<u32>,
    /// What was chosen elsewhere, by layer.
    pub routes: Option<Vec<RouteTrace>>,
}

impl<'a> OnCpu<'a> {
    pub(in crate::verify) fn new(case: &'a Case, plan: &WeightPlan, arithmetic: &Arithmetic) -> Result<Self> {
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
    pub(in crate::verify) fn begin(&mut self) -> Result<Trace> {
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

    pub(in crate::verify) fn prompt(&mut self, ids: &[u32], chunk: usize) -> Result<Run> {
        self.begin()?;
        let mut trace = Trace::default();
        for ids in ids.chunks(chunk) {
            join(&mut trace, forward(self.config, &self.weights, &mut self.cache, ids)?);
        }
        Ok(Run { trace, ..Run::default() })
    }

    /// The greedy continuation of a prompt and the logits it was chosen from.
    pub(in crate::verify) fn greedy_path(&mut self, prompt: &[u32], count: usize) -> Result<Run> {
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
    pub(in crate::verify) fn follow(&self, ids: &[u32], routes: &[RouteTrace]) -> Result<Trace> {
        let (mut cache, _) = self.begun()?;
        forward_with_experts(self.config, &self.weights, &mut cache, ids, &chosen(routes))
    }

    /// One more token.
    pub(super) fn step(&mut self, token: u32) -> Result<Trace> {
        self.cache.set_step(true);
        forward(self.config, &self.weights, &mut self.cache, &[token])
    }

    /// Of a prompt, or of a step.
    pub(super) fn last_logits(&mut self, ids: &[u32], is_step: bool) -> Result<Vec<f32>> {
        self.cache.set_step(is_step);
        let mut logits = forward(self.config, &self.weights, &mut self.cache, ids)?.logits;
        Ok(logits.split_off(logits.len() - self.config.vocab_size as usize))
    }
}

/// What each layer's router chose.
fn chosen(routes: &[RouteTrace]) -> Vec<Chosen<'_>> {
    routes.iter().map(|route| Chosen { experts: &route.experts, margins: &route.margins }).collect()
}
