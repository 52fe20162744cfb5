//! A model on a device against an implementation that nobody here wrote: golden outputs kept beside a checkpoint,
//! or, for weights in another format, the CPU reference on the same values.

mod case;
mod compare;
mod oracle;
mod runner;

use std::fmt;
use std::sync::Arc;

pub use case::{Case, Input, Prompt};
pub use compare::{Agreement, Deviation};
pub use runner::Device;

use crate::Result;
use crate::fragments::CacheFormat;
use crate::model::config::{ModelConfig, Op};
use crate::model::plan::WeightPlan;
use crate::model::slot::Stack;
use crate::quant::WeightFormat;
use crate::reference::forward::{RouteTrace, routed_layers};
use crate::tuning::{ProductPath, Tuning};

use compare::{agree, compare, compare_input, logit_scale};
use oracle::Oracle;
use runner::{Run, Runner};

/// Chunk lengths of the chunked prefill: single tokens, and an odd length that crosses windows at odd places.
const CHUNKS: [usize; 2] = [1, 7];

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Logits of prompts, whole and in chunks, and of greedy decoding.
    pub logits: Deviation,
    /// Hidden states of whole prompts, by layer, the last after the final norm; empty where the file has none.
    pub hidden: Vec<Deviation>,
    /// Hidden states of an encoder, by layer, the last after its norm; empty without one.
    pub encoder: Vec<Deviation>,
    /// The routers' choices; absent in a model without experts.
    pub routes: Option<Agreement>,
    /// Runs that parted from what was expected by a near tie of experts, and were held from that token on against the
    /// CPU reference with the device's experts.
    pub rerouted: u64,
    /// Greedy tokens.
    pub tokens: Agreement,
    /// Root mean square of the logits' distance from the golden ones over that of the golden ones.
    pub relative_rms: f64,
    /// Dispatches by kernel; empty on the CPU.
    pub dispatches: Vec<(&'static str, u64)>,
    /// Relative root mean square that the path's rounding may bring to logits and hidden states; 0 where it is f32.
    pub rounding: f64,
    /// How far logits move at most where each sub-layer's sums are off by a unit in the last place, on the CPU reference; 0 where
    /// golden outputs are what is expected, or where more is rounded.
    pub moved: f64,
    /// What is wrong although everything agrees.
    pub failure: Option<String>,
}

impl Report {
    /// Whether everything is within tolerance, and nothing else is wrong.
    pub fn passed(&self) -> bool {
        let mut deviations = self.encoder.iter().chain(&self.hidden).chain([&self.logits]);
        let mut choices = self.routes.iter().chain([&self.tokens]);
        let agrees = deviations.all(Deviation::within) && choices.all(|choices| choices.differ == 0);
        agrees && self.failure.is_none()
    }

    /// Fails a device's report when none of `kernels` ran: they compute the products of a path that was asked for.
    pub fn require_path(&mut self, path: ProductPath, kernels: &[&str]) {
        let ran = self.dispatches.iter().any(|(kernel, calls)| kernels.contains(kernel) && *calls > 0);
        if !ran {
            let kernels = kernels.join(", ");
            self.failure =
                Some(format!("path {path} was asked for and ran no dispatch, that is none of {kernels}"));
        }
    }
}

/// One line: largest differences, choices, verdict.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logits {}", self.logits)?;
        if !self.encoder.is_empty() {
            f.write_str(" | encoder")?;
            self.encoder.iter().try_for_each(|deviation| write!(f, " {deviation}"))?;
        }
        f.write_str(" | hidden")?;
        for deviation in &self.hidden {
            write!(f, " {deviation}")?;
        }
        if self.hidden.is_empty() {
            f.write_str(" not in the file")?;
        }
        match self.routes {
            None => f.write_str(" | routes none")?,
            Some(routes) if routes == Agreement::default() => f.write_str(" | routes: not in the file")?,
            Some(routes) => write!(f, " | routes {routes}")?,
        }
        if self.rerouted > 0 {
            write!(
                f,
                ", {} runs from there on against the CPU reference with the same experts",
                self.rerouted
            )?;
        }
        if self.rounding > 0.0 {
            let most = self.hidden.iter().map(Deviation::rms).fold(0.0, f64::max);
            write!(f, " | rms of the reference: logits {:.1e}, hidden {most:.1e}", self.logits.rms())?;
            write!(f, ", bound {:.1e}", self.rounding)?;
        }
        if logit_scale(self.moved) > 1.0 {
            write!(f, " | roundings alone move logits by {:.1e}", self.moved)?;
        }
        write!(f, " | tokens {} | rms {:.1e} of golden", self.tokens, self.relative_rms)?;
        match &self.failure {
            Some(failure) => write!(f, " | FAILED: {failure}"),
            None => write!(f, " | {}", if self.passed() { "passed" } else { "FAILED" }),
        }
    }
}

/// How a device computes, and what it rounds to.
#[derive(Clone, Debug, Default)]
pub struct Arithmetic {
    /// What products may round what they multiply to.
    pub path: ProductPath,
    /// Which kernels compute them; `None`: as [`Tuning::shipped`] says for the device.
    pub tuning: Option<Arc<Tuning>>,
    /// What keys and values are stored as.
    pub cache: CacheFormat,
}

impl From<ProductPath> for Arithmetic {
    fn from(path: ProductPath) -> Self {
        Self { path, ..Self::default() }
    }
}

/// Runs a case with weights in the plan's formats: each prompt whole, in chunks, and continued greedily.
///
/// # Errors
/// Those of loading and running.
pub async fn check(
    case: &Case,
    device: &Device,
    plan: &WeightPlan,
    arithmetic: impl Into<Arithmetic>,
) -> Result<Report> {
    let arithmetic = arithmetic.into();
    let mut oracle = Oracle::new(case, plan, arithmetic.clone());
    let rounds_cache = arithmetic.cache != CacheFormat::F32;
    // What the reference does not round, or from numbers that differ in their last bits.
    let amplifies = rounds_cache || arithmetic.path == ProductPath::Matrix;
    let amplification = if amplifies { oracle.amplification()? } else { 1.0 };
    let rounding = rounding(&case.source.config, plan, &arithmetic, amplification);
    let mut runner = Runner::new(case, device, plan, arithmetic).await?;
    let as_trained = case.conditions.training.is_some();
    let has_experts = routed_layers(&case.source.config, as_trained).next().is_some();
    let compares_tokens = compares_tokens(&case.source.config, as_trained);
    let mut report = Report { routes: has_experts.then(Agreement::default), rounding, ..Report::default() };
    let mut rms = (0.0, 0.0);
    for prompt in &case.prompts {
        if let Some(input) = &prompt.input {
            let found = runner.read(&input.ids).await?;
            let expected = oracle.input(input, &found, rounding)?;
            report.rerouted += u64::from(oracle.follows_input());
            compare_input(&mut report, &expected, &found);
        }
        let mut expected = oracle.prompt(prompt)?;
        let whole = runner.prompt(&prompt.ids, prompt.ids.len()).await?;
        hold(&mut report, &mut oracle, &prompt.ids, &expected, &expected.trace.routes, &whole)?;
        accumulate_rms(&mut rms, &prompt.trace.logits, &whole.trace.logits);
        let known_routes = expected.trace.routes.clone();
        // Of chunks, the device keeps no hidden states.
        expected.trace.hidden.clear();
        for chunk in CHUNKS {
            if compares_tokens || rounds_cache {
                // Another chunk is another group of tokens, and reads other keys and values from the cache.
                expected = oracle.chunked(prompt, chunk)?;
                expected.trace.hidden.clear();
            }
            let chunked = runner.prompt(&prompt.ids, chunk).await?;
            hold(&mut report, &mut oracle, &prompt.ids, &expected, &expected.trace.routes, &chunked)?;
        }
        let greedy = oracle.greedy_path(prompt)?;
        let start = prompt.start();
        let mut walk = runner.walk(start, &greedy.tokens).await?;
        if has_experts && !agree(&greedy, &walk, rounding) {
            walk.trace.routes = runner.routes_of_walk(start, &greedy.tokens).await?;
        }
        // What is known of a prompt says nothing of a path that begins otherwise.
        let known = if start.len() == prompt.ids.len() { &known_routes[..] } else { &[] };
        let walked = [start, &greedy.tokens[..greedy.tokens.len().saturating_sub(1)]].concat();
        hold(&mut report, &mut oracle, &walked, &greedy, known, &walk)?;
    }
    report.relative_rms = (rms.0 / f64::max(rms.1, f64::MIN_POSITIVE)).sqrt();
    report.dispatches = runner.dispatches();
    Ok(report)
}

/// Compares a run over `ids`. Where it parted from the expected one by a near tie of experts, the rest is held against
/// the reference with the run's own experts. `known` are the expected routes of the first tokens.
fn hold(
    report: &mut Report,
    oracle: &mut Oracle,
    ids: &[u32],
    expected: &Run,
    known: &[RouteTrace],
    found: &Run,
) -> Result<()> {
    let rerouted = match found.trace.routes.is_empty() || agree(expected, found, report.rounding) {
        true => None,
        false => oracle.rerouted(ids, expected, known, found, report.rounding)?,
    };
    report.rerouted += u64::from(rerouted.is_some());
    compare(report, rerouted.as_ref().unwrap_or(expected), found);
    Ok(())
}

/// Beyond this, a model makes so much of roundings that a bound which allows for them would allow anything.
const MOST_ROUNDING: f64 = 0.25;

/// Relative root mean square by which two computations of a model may differ that both round on a path.
///
/// A product's inputs, and on matrices its weights, are off by a relative `e`, and so is its result; errors of products
/// one after the other are independent and add up as squares. The integer path rounds to steps of `most / 127`, where
/// the largest of 32 inputs is about 3.5 times their root mean square: `e = 3.5 / 127 / sqrt(12)`. The reference rounds
/// alike, but from inputs that differ in their last bits, so that after a few products it is another draw of the same
/// error. f16 has `e = 2^-11` of each operand, and the reference does not round to it. It does round keys and values,
/// of which each attention has both, and again from numbers that differ in their last bits; a row of codes has steps of
/// `most / 127` of all of a head. A key that takes the other code than the reference's moves all that follows, by as much more than
/// itself as the model makes of a rounding: its `amplification`.
fn rounding(config: &ModelConfig, plan: &WeightPlan, arithmetic: &Arithmetic, amplification: f64) -> f64 {
    let coded = [plan.linear, plan.experts].iter().any(|format| matches!(format, WeightFormat::Int(_)));
    let (codes, half) = (3.5 / 127.0 / 12f64.sqrt(), 2f64.powi(-11));
    let of_product = match arithmetic.path {
        ProductPath::Integer if coded => codes,
        ProductPath::Matrix => half * amplification,
        ProductPath::Float | ProductPath::Integer => 0.0,
    };
    let of_cache = match arithmetic.cache {
        CacheFormat::F32 => 0.0,
        CacheFormat::F16 => half,
        CacheFormat::Int8 => codes,
    };
    // Into a sub-layer and out of it, and the head; of an attention also those of queries with keys and of weights with values.
    let is_attention =
        |op: &Op| matches!(op, Op::Attention(_) | Op::LatentAttention(_) | Op::CrossAttention(_));
    let of_attentions = match arithmetic.path {
        ProductPath::Matrix => 2 * config.ops().filter(|(_, op)| is_attention(op)).count(),
        ProductPath::Float | ProductPath::Integer => 0,
    };
    let products = 2 * config.ops().count() + 1 + of_attentions;
    let has_cache = |op: &Op| matches!(op, Op::Attention(_) | Op::LatentAttention(_));
    let attentions = config.ops_of(Stack::Decoder).filter(|(_, op)| has_cache(op)).count();
    let of_cache = of_cache * amplification;
    let bound = (2.0 * (of_product.powi(2) * products as f64 + of_cache.powi(2) * attentions as f64)).sqrt();
    bound.min(MOST_ROUNDING)
}

/// Whether what a token gets hangs on the tokens beside it in a pass, other than by attention.
fn compares_tokens(config: &ModelConfig, as_trained: bool) -> bool {
    let mut ops = config.ops();
    ops.any(|(_, op)| matches!(op, Op::Experts(experts) if experts.compares_tokens(as_trained)))
}

fn accumulate_rms(sums: &mut (f64, f64), golden: &[f32], found: &[f32]) {
    for (golden, found) in golden.iter().zip(found) {
        sums.0 += (f64::from(*found) - f64::from(*golden)).powi(2);
        sums.1 += f64::from(*golden).powi(2);
    }
}
