//! A model on a device against an implementation that nobody here wrote: golden outputs kept beside a checkpoint,
//! or, for weights in another format, the CPU reference on the same values.

mod case;
mod compare;
mod runner;

use std::fmt;

pub use case::{Case, Prompt};
pub use compare::{Agreement, Deviation};
pub use runner::Device;

use crate::Result;
use crate::model::plan::WeightPlan;
use crate::quant::WeightFormat;
use crate::reference::forward::Trace;
use compare::{compare_logits, compare_routes, compare_trace};
use runner::Runner;

/// Chunk lengths of the chunked prefill: single tokens, and an odd length that crosses windows at odd places.
const CHUNKS: [usize; 2] = [1, 7];

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Logits of prompts, whole and in chunks, and of greedy decoding.
    pub logits: Deviation,
    /// Hidden states of whole prompts, by layer; the last is after the final norm.
    pub hidden: Vec<Deviation>,
    /// The router's choices.
    pub routes: Agreement,
    /// Greedy tokens.
    pub tokens: Agreement,
    /// Root mean square of the logits' distance from the golden ones over that of the golden ones.
    pub relative_rms: f64,
    /// Dispatches by kernel; empty on the CPU.
    pub dispatches: Vec<(&'static str, u64)>,
}

impl Report {
    /// Whether everything is within tolerance.
    pub fn passed(&self) -> bool {
        let deviations = self.hidden.iter().chain([&self.logits]);
        deviations.clone().all(Deviation::within) && self.routes.differ == 0 && self.tokens.differ == 0
    }
}

/// One line: largest differences, choices, verdict.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logits {} | hidden", self.logits)?;
        for deviation in &self.hidden {
            write!(f, " {deviation}")?;
        }
        write!(f, " | routes {} | tokens {}", self.routes, self.tokens)?;
        write!(f, " | rms {:.1e} of golden", self.relative_rms)?;
        write!(f, " | {}", if self.passed() { "passed" } else { "FAILED" })
    }
}

/// Runs a case with weights in the plan's formats: each prompt whole, in chunks, and continued greedily.
///
/// # Errors
/// Those of loading and running.
pub async fn check(case: &Case, device: &Device, plan: &WeightPlan) -> Result<Report> {
    let mut runner = Runner::new(case, device, plan).await?;
    let golden = [plan.linear, plan.experts, plan.embedding].iter().all(|f| *f == WeightFormat::F32);
    let reference = if golden { None } else { Some(Device::Cpu) };
    let mut oracle = match &reference {
        Some(cpu) => Some(Runner::new(case, cpu, plan).await?),
        None => None,
    };
    let mut report = Report::default();
    let mut rms = (0.0, 0.0);
    for prompt in &case.prompts {
        let expected: Trace = match &mut oracle {
            Some(oracle) => oracle.prompt(&prompt.ids, prompt.ids.len()).await?,
            None => prompt.trace.clone(),
        };
        let whole = runner.prompt(&prompt.ids, prompt.ids.len()).await?;
        compare_trace(&mut report, &expected, &whole);
        compare_routes(&mut report.routes, &expected, &whole);
        accumulate_rms(&mut rms, &prompt.trace.logits, &whole.logits);
        for chunk in CHUNKS {
            let chunked = runner.prompt(&prompt.ids, chunk).await?;
            compare_logits(&mut report.logits, &expected.logits, &chunked.logits);
            compare_routes(&mut report.routes, &expected, &chunked);
        }
        let (tokens, logits) = match &mut oracle {
            Some(oracle) => oracle.greedy_path(&prompt.ids, prompt.greedy_ids.len()).await?,
            None => (prompt.greedy_ids.clone(), prompt.greedy_logits.clone()),
        };
        runner.follow(&prompt.ids, &tokens, &logits, &mut report).await?;
    }
    report.relative_rms = (rms.0 / f64::max(rms.1, f64::MIN_POSITIVE)).sqrt();
    report.dispatches = runner.dispatches();
    Ok(report)
}

fn accumulate_rms(sums: &mut (f64, f64), golden: &[f32], found: &[f32]) {
    for (golden, found) in golden.iter().zip(found) {
        sums.0 += (f64::from(*found) - f64::from(*golden)).powi(2);
        sums.1 += f64::from(*golden).powi(2);
    }
}
