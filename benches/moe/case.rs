//! A model over tokens: what it will need and take at least, before anything is made.

use std::time::Duration;

use wattle::Gpu;
use wattle::energy::Level;
use wattle::kernel::Span;
use wattle::model::SessionOptions;
use wattle::model::config::ModelConfig;
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;
use wattle::model::session::SessionPlan;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

use super::layer::{Layer, Tokens};
use super::memory;
use super::support::roof::Roof;
use super::support::{Result, SLOW_RUNS};

/// A row to be.
#[derive(Clone)]
pub struct Case {
    pub config: ModelConfig,
    pub format: WeightFormat,
    pub path: ProductPath,
    pub rows: u32,
    pub tokens: Tokens,
    /// Whether tokens are routed as in training.
    pub is_trained: bool,
}

impl Case {
    pub fn of_layer(layer: &Layer, path: ProductPath) -> Self {
        let Layer { format, rows, tokens, .. } = *layer;
        Self { config: layer.config(), format, path, rows, tokens, is_trained: layer.is_trained() }
    }

    pub fn of_model(config: &ModelConfig, format: WeightFormat, path: ProductPath, rows: u32) -> Self {
        let config = ModelConfig { context_length: rows + 1, ..config.clone() };
        Self { config, format, path, rows, tokens: Tokens::Random, is_trained: false }
    }

    /// The format, the tokens, and a path that rounds.
    pub fn variant(&self) -> String {
        let variant = format!("{} {}", self.format, self.tokens.title(self.rows));
        if self.path == ProductPath::Float { variant } else { format!("{variant} {}", self.path) }
    }

    pub fn plan(&self) -> WeightPlan {
        WeightPlan { embedding: WeightFormat::F32, ..WeightPlan::uniform(self.format) }
    }

    /// The draws of training, if it is that.
    pub fn training(&self) -> Option<u32> {
        self.is_trained.then_some(1)
    }

    pub fn options(&self) -> SessionOptions {
        SessionOptions {
            max_chunk: self.rows,
            chunk_ops: u64::MAX,
            ledger: Level::Dispatch,
            logits: LogitRows::None,
            sampling: None,
            path: self.path,
            training: self.training(),
            task: Some(0),
            ..SessionOptions::new(self.rows + 1, Sampling::GREEDY)
        }
    }

    /// The least time of all its runs and its bytes; or why there can be none.
    fn predict(&self, gpu: &Gpu, roof: &Roof) -> Result<(Duration, u64)> {
        let layout = Layout::new(&self.config, &self.plan(), gpu.capabilities())?;
        let plan = SessionPlan::new(&self.config, &layout, gpu.capabilities(), &self.options())?;
        let schedule = if self.rows == 1 { &plan.decode.0 } else { &plan.prefill.0 };
        let work = schedule.work(Span { position: 0, rows: self.rows });
        Ok((SLOW_RUNS * roof.time(&work, self.rows), layout.bytes() + plan.bytes()))
    }
}

/// Why cases that take turns are not measured, if they are not.
pub fn refusal(gpu: &Gpu, roof: &Roof, cases: &[Case], longest: Option<Duration>) -> Result<Option<String>> {
    let (mut time, mut bytes) = (Duration::ZERO, 0);
    for case in cases {
        match case.predict(gpu, roof) {
            Ok(of_case) => (time, bytes) = (time + of_case.0, bytes + of_case.1),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    if longest.is_some_and(|longest| time > longest) {
        return Ok(Some(format!("predicted to take {:.0} s", time.as_secs_f64())));
    }
    memory::lacks(gpu, bytes)
}
