//! One layer with random weights, run over tokens and timed by dispatch.

use std::time::{Duration, Instant};

use wattle::Gpu;
use wattle::energy::{ByteClass, Level, OpClass, Timing};
use wattle::kernel::Span;
use wattle::model::config::{
    Activation, Block, Capacity, Experts, FeedForward, GrantOrder, Head, ModelConfig, Norm, NormKind, Op,
    Routing, Share, SubLayer,
};
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::plan::WeightPlan;
use wattle::model::{Model, Session, SessionOptions};
use wattle::quant::WeightFormat;
use wattle::schedule::Schedule;

use super::support::chain::wait;
use super::support::{Result, Times, microseconds};

/// Rows of the table of embeddings.
pub const VOCAB: u32 = 4096;

/// A layer, and what runs through it.
#[derive(Clone, Copy)]
pub struct Layer {
    pub kind: Kind,
    /// Width of the residual stream.
    pub width: u32,
    /// Width of one branch of an expert.
    pub hidden: u32,
    pub rows: u32,
    pub tokens: Tokens,
    pub format: WeightFormat,
}

#[derive(Clone, Copy)]
pub enum Kind {
    /// One network.
    Dense,
    /// Networks of which each token has some.
    Experts { count: u32, top_k: u32, way: Way },
}

/// How tokens find experts.
#[derive(Clone, Copy)]
pub enum Way {
    /// Each chooses, by softmax.
    Best,
    /// The same, and an expert takes no more than so many times its even share.
    Limited(f32),
    /// Experts choose, so many to a token on average.
    Chosen(f32),
    /// By one of so many tasks.
    Task(u32),
}

/// Which tokens there are. A token's experts are a function of the token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// Any of them, so that experts are used alike.
    Random,
    /// A few, some far more often than others.
    Skewed,
    /// One, so that all rows go to the same experts.
    Alike,
}

/// Times of a layer.
pub struct Measured {
    /// Of a whole pass, as the host sees it.
    pub wall: Times,
    /// In order.
    pub dispatches: Vec<Dispatch>,
    /// Rows that the experts' products may execute for each row that they have, partly empty tiles included.
    pub executed: f64,
    /// Bytes of weights that have to be read, at most.
    pub weight_bytes: u64,
}

/// A dispatch of a layer.
pub struct Dispatch {
    pub what: &'static str,
    pub kernel: &'static str,
    pub workgroups: u64,
    /// Distinct bytes that it reads and writes, at most.
    pub bytes: u64,
    /// By the device's clock, where it has one.
    pub times: Option<Times>,
}

impl Dispatch {
    /// Median, in microseconds.
    pub fn us(&self) -> Option<f64> {
        self.times.as_ref().map(|times| microseconds(times.median()))
    }
}

impl Tokens {
    pub fn title(self, rows: u32) -> String {
        match self {
            Self::Random => rows.to_string(),
            Self::Skewed => format!("{rows} skewed"),
            Self::Alike => format!("{rows} alike"),
        }
    }

    pub fn draw(self, rows: u32) -> Vec<u32> {
        let mut state = 1u64;
        let mut any = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let token = |_| match self {
            Self::Random => any() % VOCAB,
            // The number of trailing zeros of a random number is 0 half of the time, 1 a quarter of it, and so on.
            Self::Skewed => any().trailing_zeros(),
            Self::Alike => 7,
        };
        (0..rows).map(token).collect()
    }
}

impl Layer {
    pub fn title(&self) -> String {
        let Self { width, hidden, .. } = self;
        match self.kind {
            Kind::Dense => format!("dense {width} x {hidden}"),
            Kind::Experts { count, top_k, way } => {
                let way = match way {
                    Way::Best => String::new(),
                    Way::Limited(factor) => format!(", at most {factor}"),
                    Way::Chosen(factor) => format!(", chosen {factor}"),
                    Way::Task(tasks) => format!(", {tasks} tasks"),
                };
                format!("{top_k} of {count}, {width} x {hidden}{way}")
            }
        }
    }

    pub fn config(&self) -> ModelConfig {
        let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
        let network = FeedForward::gated(self.hidden, Activation::Silu);
        let op = match self.kind {
            Kind::Dense => Op::FeedForward(network),
            Kind::Experts { count, top_k, way } => {
                let routing = match way {
                    Way::Best | Way::Limited(_) => Routing::softmax_topk(true),
                    Way::Chosen(factor) => Routing::ExpertChoice { factor },
                    Way::Task(tasks) => Routing::Task { tasks },
                };
                let (share, order) = (Share::PerChoice, GrantOrder::ChoiceMajor);
                let capacity = match way {
                    Way::Limited(factor) => Some(Capacity { factor, share, order }),
                    Way::Best | Way::Chosen(_) | Way::Task(_) => None,
                };
                Op::Experts(Experts { capacity, ..Experts::new(count, top_k, routing, network) })
            }
        };
        ModelConfig {
            name: self.title(),
            vocab_size: VOCAB,
            hidden_size: self.width,
            context_length: self.rows + 1,
            embedding_scale: 1.0,
            blocks: vec![Block { sublayers: vec![SubLayer::new(norm, op)] }],
            final_norm: norm,
            head: Head { tied: true, ..Head::default() },
        }
    }

    /// Runs the layer as a prompt; one token as a step of decoding.
    pub fn measure(&self, gpu: &Gpu) -> Result<Measured> {
        measure(gpu, &self.config(), self.format, &self.tokens.draw(self.rows))
    }
}

/// Runs a model with random weights over a prompt; one token as a step of decoding.
pub fn measure(gpu: &Gpu, config: &ModelConfig, format: WeightFormat, tokens: &[u32]) -> Result<Measured> {
    let rows = tokens.len() as u32;
    let plan = WeightPlan { embedding: WeightFormat::F32, ..WeightPlan::uniform(format) };
    let model = gpu.block_on(Model::random(gpu, config, plan, 1))?;
    let options = SessionOptions {
        max_chunk: rows,
        chunk_ops: u64::MAX,
        ledger: Level::Dispatch,
        logits: LogitRows::None,
        sampling: None,
        task: Some(0),
        ..SessionOptions::new(rows + 1, Sampling::GREEDY)
    };
    let mut session = gpu.block_on(Session::new(&model, options))?;
    let mut runs: Vec<(Duration, Vec<Option<Duration>>)> = Vec::new();
    let begin = Instant::now();
    // The first is for nothing.
    while runs.len() < 8 || (runs.len() < 16 && begin.elapsed() < Duration::from_secs(1)) {
        runs.push(run(gpu, &mut session, tokens)?);
    }
    let (executed, weight_bytes) = counted(&session, rows);
    let runs = &runs[1..];
    let times = |n: usize| {
        let times: Vec<_> = runs.iter().filter_map(|(_, times)| *times.get(n)?).collect();
        (!times.is_empty()).then(|| Times::new(times))
    };
    let span = Span { position: 0, rows };
    let steps = schedule(&session, rows).steps.iter().enumerate();
    let dispatches = steps.map(|(n, step)| Dispatch {
        what: step.site.what,
        kernel: step.launch.name(),
        workgroups: step.launch.workgroups(span),
        bytes: step.launch.work(span).total_bytes().least,
        times: times(n),
    });
    let dispatches = dispatches.collect();
    let wall = Times::new(runs.iter().map(|(wall, _)| *wall));
    Ok(Measured { wall, dispatches, executed, weight_bytes })
}

/// What runs over so many tokens.
fn schedule(session: &Session, rows: u32) -> &Schedule {
    let [prefill, decode] = session.schedules();
    if rows == 1 { decode } else { prefill }
}

/// One pass: how long it took, and each of its dispatches.
fn run(gpu: &Gpu, session: &mut Session, tokens: &[u32]) -> Result<(Duration, Vec<Option<Duration>>)> {
    session.reset();
    let begin = Instant::now();
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    match tokens {
        [token] => session.decode_token(&mut encoder, *token)?,
        tokens => session.prefill(&mut encoder, tokens, true)?,
    }
    gpu.queue().submit([encoder.finish()]);
    wait(gpu)?;
    let wall = begin.elapsed();
    gpu.block_on(session.ledger().collect(gpu))?;
    let of_dispatch = |timing: &Timing| timing.duration_ns().map(Duration::from_nanos);
    let times = session.ledger().passes().flat_map(|pass| pass.dispatches.iter().map(of_dispatch)).collect();
    session.ledger().clear();
    Ok((wall, times))
}

/// Multiply-adds of the experts' products that may be executed, for each that is useful; and bytes of weights with
/// their scales, at most.
fn counted(session: &Session, rows: u32) -> (f64, u64) {
    let schedule = schedule(session, rows);
    let span = Span { position: 0, rows };
    let products = schedule.steps.iter().filter(|step| step.site.what.starts_with("expert_"));
    let (mut least, mut most) = (0, 0);
    for step in products {
        let ops = step.launch.work(span).ops_of(OpClass::F32Fma);
        (least, most) = (least + ops.least, most + ops.most);
    }
    let executed = if least == 0 { 1.0 } else { most as f64 / least as f64 };
    let work = schedule.work(span);
    let weights = [ByteClass::Weight, ByteClass::ScaleZp].map(|class| work.bytes_of(class).least);
    (executed, weights.iter().sum())
}

impl Measured {
    /// Time of some parts together, in microseconds.
    pub fn of(&self, whats: &[&str]) -> Option<f64> {
        let found = self.dispatches.iter().filter(|dispatch| whats.contains(&dispatch.what));
        let times: Vec<f64> = found.filter_map(Dispatch::us).collect();
        (!times.is_empty()).then(|| times.iter().sum())
    }

    /// Time of the layer alone.
    pub fn all(&self) -> Option<f64> {
        self.inside().map(Dispatch::us).sum()
    }

    /// The dispatches of the layer alone.
    pub fn inside(&self) -> impl Iterator<Item = &Dispatch> {
        self.dispatches.iter().filter(|dispatch| !matches!(dispatch.what, "embed" | "head" | "sample"))
    }
}
