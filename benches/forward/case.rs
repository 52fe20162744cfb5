//! One model in one format: what it will need and about how long it will take, before anything is made.

use std::time::Duration;

use wattle::energy::Level;
use wattle::kernel::Span;
use wattle::model::SessionOptions;
use wattle::model::config::ModelConfig;
use wattle::model::forward::Sampling;
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;
use wattle::model::session::SessionPlan;
use wattle::quant::WeightFormat;
use wattle::{Error, Gpu};

use super::support::SLOW_RUNS;
use super::support::roof::Roof;

/// Tokens of a prompt, in a context that has room for them.
const PROMPT: u32 = 512;

/// A row to be.
pub struct Case {
    pub config: ModelConfig,
    pub format: WeightFormat,
    pub prompt: Vec<u32>,
    /// Tokens of the answer that are fed back.
    pub answer: u32,
    pub options: SessionOptions,
    pub weight_bytes: u64,
    pub plan: SessionPlan,
}

impl Case {
    /// Lays the model and a session out.
    pub fn plan(gpu: &Gpu, config: &ModelConfig, format: WeightFormat, tokens: u32) -> Result<Self, Error> {
        let answer = tokens.min(config.context_length / 2);
        let prompt = PROMPT.min(config.context_length - answer);
        let options =
            SessionOptions { ledger: Level::Window, ..SessionOptions::new(prompt + answer, SAMPLING) };
        let layout = Layout::new(config, &WeightPlan::uniform(format), gpu.capabilities())?;
        let plan = SessionPlan::new(config, &layout, gpu.capabilities(), &options)?;
        Ok(Self {
            format,
            prompt: random_ids(prompt, config.vocab_size),
            answer,
            options,
            weight_bytes: layout.bytes(),
            plan,
            config: config.clone(),
        })
    }

    /// Bytes on the device: weights, caches, tables, activations.
    pub fn bytes(&self) -> u64 {
        self.weight_bytes + self.plan.bytes()
    }

    /// All runs of the prompt or of the answer, whichever take longer, not counting what making the model takes.
    pub fn predict(&self, roof: &Roof) -> Duration {
        let chunk = self.plan.chunk_rows as usize;
        let last = self.prompt.len().div_ceil(chunk) - 1;
        let chunks = self.prompt.chunks(chunk).enumerate().map(|(n, ids)| {
            let schedule = if n == last { &self.plan.prefill.0 } else { &self.plan.part.0 };
            let span = Span { position: (n * chunk) as u32, rows: ids.len() as u32 };
            roof.time(&schedule.work(span), span.rows)
        });
        let (prefill, decode) = (chunks.sum(), self.answer * roof.time(&self.decode_work(), 1));
        SLOW_RUNS * decode.max(prefill)
    }

    /// What a step in the middle of the answer moves and computes.
    pub fn decode_work(&self) -> wattle::energy::Work {
        let position = self.prompt.len() as u32 + self.answer / 2;
        self.plan.decode.0.work(Span { position, rows: 1 })
    }
}

/// At temperature 1 a random model says something else each time, and so does not ask the same experts again.
const SAMPLING: Sampling = Sampling { temperature: 1.0, ..Sampling::GREEDY };

/// Tokens from all over the vocabulary (Knuth, The Art of Computer Programming, volume 3, section 6.4).
fn random_ids(count: u32, vocab_size: u32) -> Vec<u32> {
    (1..=count).map(|n| n.wrapping_mul(2_654_435_761) % vocab_size).collect()
}
