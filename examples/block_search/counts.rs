//! Step times from the ledger's counts alone, the same on every machine.

use std::fmt;

use wattle::energy::Phase;
use wattle::gpu::Capabilities;
use wattle::kernel::Span;
use wattle::model::config::ModelConfig;
use wattle::model::forward::{LogitRows, PassOptions, record};
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;
use wattle::quant::WeightFormat;

use super::oracle::{Meter, Result, Step};

/// A device by its rates: a dispatch takes as long as the slower of moving its bytes and executing its operations
/// (roofline, Williams et al., CACM 2009). Experts count as if tokens had hit as many as can be.
#[derive(Clone, Copy, Debug)]
pub struct Roofline {
    /// 10^9 bytes per second.
    pub gb_per_s: f64,
    /// 10^9 operations per second, a multiply-add being two.
    pub gop_per_s: f64,
    /// Of all weights.
    pub format: WeightFormat,
}

impl fmt::Display for Roofline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gb_per_s, gop_per_s, .. } = self;
        write!(f, "no device; counts of the ledger at {gb_per_s} GB/s and {gop_per_s} Gop/s")
    }
}

impl Meter for Roofline {
    fn step(&mut self, config: &ModelConfig) -> Result<Step> {
        let device = Capabilities::webgpu();
        let layout = Layout::new(config, &WeightPlan::uniform(self.format), &device)?;
        let rows = config.context_length;
        let options = PassOptions { logits: LogitRows::None, ..PassOptions::new(Phase::Prefill, rows, rows) };
        let schedule = record(config, &layout, &device, &options)?;
        let span = Span { position: 0, rows };
        let ms = |bytes: u64, ops: u64| (bytes as f64 / self.gb_per_s).max(ops as f64 / self.gop_per_s) / 1e6;
        let mut step = Step { ms: 0.0, bytes: 0, ops: 0 };
        for dispatch in &schedule.steps {
            let work = dispatch.launch.work(&[span]);
            let (bytes, ops) = (work.total_bytes().least, work.total_ops().most);
            step = Step { ms: step.ms + ms(bytes, ops), bytes: step.bytes + bytes, ops: step.ops + ops };
        }
        Ok(step)
    }
}
