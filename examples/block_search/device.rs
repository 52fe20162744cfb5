//! Step times on the device at hand.

use std::fmt;
use std::time::Instant;

use wattle::Gpu;
use wattle::energy::Level;
use wattle::kernel::Span;
use wattle::model::config::ModelConfig;
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::plan::WeightPlan;
use wattle::model::{Model, Session, SessionOptions};
use wattle::quant::WeightFormat;

use super::oracle::{Meter, Result, Step};
use super::random::Random;
use super::space::below;
use super::support::chain::wait;

/// A device, and how it is measured.
pub struct Device {
    /// The device.
    pub gpu: Gpu,
    /// Runs of a step, of which the median counts; one more goes before them.
    pub runs: usize,
    /// Of all weights.
    pub format: WeightFormat,
}

impl Device {
    /// One pass over the tokens, in milliseconds: what the device says it took, or else the host.
    fn run(&self, session: &mut Session, tokens: &[u32]) -> Result<f64> {
        session.reset();
        session.ledger().clear();
        let begin = Instant::now();
        self.gpu.block_on(self.gpu.submit("step", |encoder| session.prefill(encoder, tokens, false)))?;
        wait(&self.gpu)?;
        let ms_of_host = begin.elapsed().as_secs_f64() * 1e3;
        self.gpu.block_on(session.ledger().collect(&self.gpu))?;
        let ns_of_device = session.ledger().passes().find_map(|pass| pass.window.duration_ns());
        Ok(ns_of_device.map_or(ms_of_host, |ns| ns as f64 / 1e6))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.gpu.info();
        let clock = if self.gpu.capabilities().timestamps { "device" } else { "host" };
        write!(f, "{}, {} {}, {}; ", info.name, info.driver, info.driver_info, info.backend)?;
        write!(f, "median of {} runs by the clock of the {clock}", self.runs)
    }
}

impl Meter for Device {
    fn step(&mut self, config: &ModelConfig) -> Result<Step> {
        let rows = config.context_length;
        let plan = WeightPlan::uniform(self.format);
        let model = self.gpu.block_on(Model::random(&self.gpu, config, plan, 1))?;
        let options = SessionOptions {
            max_chunk: rows,
            chunk_ops: u64::MAX,
            ledger: Level::Window,
            logits: LogitRows::None,
            sampling: None,
            ..SessionOptions::new(rows, Sampling::GREEDY)
        };
        let mut session = self.gpu.block_on(Session::new(&model, options))?;
        let mut random = Random::new(1);
        let tokens: Vec<u32> =
            (0..rows).map(|_| below(&mut random, config.vocab_size as usize) as u32).collect();
        self.run(&mut session, &tokens)?;
        let times: Result<Vec<f64>> = (0..self.runs).map(|_| self.run(&mut session, &tokens)).collect();
        let mut times = times?;
        times.sort_by(f64::total_cmp);
        let [prefill, _] = session.schedules();
        let work = prefill.work(Span { position: 0, rows });
        Ok(Step { ms: times[times.len() / 2], bytes: work.total_bytes().least, ops: work.total_ops().most })
    }
}
