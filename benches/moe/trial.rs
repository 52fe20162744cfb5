//! Layers and models with random weights, run over tokens and timed by dispatch.

use std::time::{Duration, Instant};

use serde_json::Value;
use wattle::Gpu;
use wattle::energy::{ByteClass, OpClass, Timing};
use wattle::kernel::Span;
use wattle::model::{Model, Session};
use wattle::schedule::Schedule;

use super::case::Case;
use super::support::chain::wait;
use super::support::{LONGEST, Result, Times, microseconds};

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
    /// Distinct bytes that its dispatches read and write, at most.
    pub bytes: u64,
    /// Of a pass, or why the ledger does not know.
    pub joules: Result<f64, String>,
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
    /// The same turn by turn.
    turns: Vec<Option<Duration>>,
}

impl Dispatch {
    /// Median, in microseconds.
    pub fn us(&self) -> Option<f64> {
        self.times.as_ref().map(|times| microseconds(times.median()))
    }
}

/// Runs cases as prompts, one token as a step of decoding: each once for nothing, then at least three times, up to seven times
/// while that is no longer than rows may take, and up to fifteen times within a second for each. What is measured beside each
/// other takes turns, because the speed of a machine that others use changes within seconds.
pub fn take_turns(gpu: &Gpu, cases: &[Case]) -> Result<Vec<Measured>> {
    let mut trials = cases.iter().map(|case| Trial::new(gpu, case)).collect::<Result<Vec<_>>>()?;
    trials.iter_mut().try_for_each(|trial| trial.run(gpu))?;
    trials.iter_mut().for_each(|trial| trial.runs.clear());
    let begin = Instant::now();
    for turn in 0..15 {
        let soon = Duration::from_secs(cases.len() as u64);
        let enough = |turns, time| turn >= turns && begin.elapsed() > time;
        if enough(3, LONGEST) || enough(7, soon) {
            break;
        }
        trials.iter_mut().try_for_each(|trial| trial.run(gpu))?;
    }
    trials.into_iter().map(|trial| trial.measured(gpu)).collect()
}

/// A session of random weights, and what its runs took: each a pass as a whole, and its dispatches.
struct Trial {
    session: Session,
    tokens: Vec<u32>,
    runs: Vec<(Duration, Vec<Option<Duration>>)>,
}

impl Trial {
    fn new(gpu: &Gpu, case: &Case) -> Result<Self> {
        let model = gpu.block_on(Model::random(gpu, &case.config, case.plan(), 1))?;
        let session = gpu.block_on(Session::new(&model, case.options()))?;
        Ok(Self { session, tokens: case.tokens.draw(case.rows), runs: Vec::new() })
    }

    fn run(&mut self, gpu: &Gpu) -> Result<()> {
        let session = &mut self.session;
        session.reset();
        session.ledger().clear();
        let begin = Instant::now();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        match self.tokens[..] {
            [token] => session.decode_token(&mut encoder, token)?,
            _ => session.prefill(&mut encoder, &self.tokens, true)?,
        }
        gpu.queue().submit([encoder.finish()]);
        wait(gpu)?;
        let wall = begin.elapsed();
        gpu.block_on(session.ledger().collect(gpu))?;
        let of_dispatch = |timing: &Timing| timing.duration_ns().map(Duration::from_nanos);
        let passes = session.ledger().passes();
        let times = passes.flat_map(|pass| pass.dispatches.iter().map(of_dispatch)).collect();
        self.runs.push((wall, times));
        Ok(())
    }

    fn measured(mut self, gpu: &Gpu) -> Result<Measured> {
        let joules = self.joules(gpu)?;
        let rows = self.tokens.len() as u32;
        let span = Span { position: 0, rows };
        let schedule = schedule(&self.session, rows);
        let dispatches = schedule.steps.iter().enumerate().map(|(n, step)| {
            let turns: Vec<_> = self.runs.iter().map(|(_, times)| *times.get(n)?).collect();
            let times: Vec<_> = turns.iter().copied().flatten().collect();
            Dispatch {
                what: step.site.what,
                kernel: step.launch.name(),
                workgroups: step.launch.workgroups(&[span]),
                bytes: step.launch.work(&[span]).total_bytes().least,
                times: (!times.is_empty()).then(|| Times::new(times)),
                turns,
            }
        });
        let (executed, weight_bytes) = counted(schedule, span);
        let bytes = schedule.work(span).total_bytes().least;
        let wall = Times::new(self.runs.iter().map(|(wall, _)| *wall));
        Ok(Measured { wall, dispatches: dispatches.collect(), executed, weight_bytes, bytes, joules })
    }

    /// What the ledger says of the last pass.
    fn joules(&mut self, gpu: &Gpu) -> Result<Result<f64, String>> {
        let mut lines = Vec::new();
        self.session.ledger().write_jsonl(gpu, &mut lines)?;
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line)?;
            if line["t"] == "step" {
                let energy = &line["e"];
                let why = || energy["reason"].as_str().unwrap_or("no reason given").to_owned();
                return Ok(energy["nj"].as_f64().map(|nanojoules| nanojoules / 1e9).ok_or_else(why));
            }
        }
        Ok(Err("the ledger has no pass".into()))
    }
}

/// What runs over so many tokens.
fn schedule(session: &Session, rows: u32) -> &Schedule {
    let [prefill, decode] = session.schedules();
    if rows == 1 { decode } else { prefill }
}

/// Multiply-adds of the experts' products that may be executed, for each that is useful; and bytes of weights with
/// their scales, at most.
fn counted(schedule: &Schedule, span: Span) -> (f64, u64) {
    let products = schedule.steps.iter().filter(|step| step.site.what.starts_with("expert_"));
    let (mut least, mut most) = (0, 0);
    for step in products {
        let work = step.launch.work(&[span]);
        // What products multiply with, by their path; on the integer path scales are multiplied in f32 besides.
        let classes = [OpClass::I8Dot4, OpClass::CoopFma, OpClass::F32Fma];
        let ops = classes.map(|class| work.ops_of(class)).into_iter().find(|ops| ops.most > 0);
        let ops = ops.unwrap_or_default();
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

    /// Time of some parts together turn by turn, where the device has a clock.
    fn by_turn(&self, whats: &[&str]) -> Vec<Option<Duration>> {
        let parts: Vec<_> = self.dispatches.iter().filter(|of| whats.contains(&of.what)).collect();
        let turns = parts.first().map_or(0, |part| part.turns.len());
        (0..turns).map(|turn| parts.iter().map(|part| part.turns[turn]).sum()).collect()
    }

    /// Time of some parts over that of parts of something else that took turns with it: the median over the turns, in which
    /// the machine is more alike than over all of them.
    pub fn over(&self, whats: &[&str], other: &Self, others: &[&str]) -> Option<f64> {
        let pairs = self.by_turn(whats).into_iter().zip(other.by_turn(others));
        let ratios = pairs.filter_map(|(ours, theirs)| Some(ours?.div_duration_f64(theirs?)));
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
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
