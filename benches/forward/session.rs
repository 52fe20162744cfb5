//! Prompts and answers of one model, timed.

use std::time::{Duration, Instant};

use wattle::energy::Phase;
use wattle::model::plan::WeightPlan;
use wattle::model::{Model, Session};
use wattle::{Error, Gpu};

use super::case::Case;
use super::support::roof::Roof;
use super::support::{Result, Row, Times, microseconds, repeat};

/// Columns of the table.
pub const COLUMNS: [(&str, usize); 12] = [
    ("model", 14),
    ("weights", 12),
    ("peak MB", 8),
    ("load s", 7),
    ("setup s", 7),
    ("prefill tok/s", 14),
    ("decode tok/s", 13),
    ("first ms", 8),
    ("device us/tok", 13),
    ("encode us/tok", 13),
    ("disp/tok", 8),
    ("of copy", 7),
];

const SEED: u64 = 1;

/// What was measured.
pub struct Measured {
    prefill: Times,
    decode: Times,
    encode: Times,
    /// Device time of the prompt and of the answer, medians.
    device: Option<[Duration; 2]>,
    load: Duration,
    setup: Duration,
    dispatches: [usize; 2],
}

/// One prompt and its answer.
struct Run {
    prefill: Duration,
    decode: Duration,
    encode: Duration,
    device: Option<[Duration; 2]>,
}

/// Makes a model, checks that it computes, and times it.
pub fn measure(gpu: &Gpu, case: &Case) -> Result<Measured> {
    let model = gpu.block_on(Model::random(gpu, &case.config, WeightPlan::uniform(case.format), SEED))?;
    let begin = Instant::now();
    let mut session = gpu.block_on(Session::new(&model, case.options.clone()))?;
    let setup = begin.elapsed();
    check(&mut session, &case.prompt)?;
    let runs = repeat(|| run(&mut session, case))?;
    let device: Option<Vec<_>> = runs.iter().map(|run| run.device).collect();
    Ok(Measured {
        prefill: Times::new(runs.iter().map(|run| run.prefill)),
        decode: Times::new(runs.iter().map(|run| run.decode)),
        encode: Times::new(runs.iter().map(|run| run.encode)),
        device: device.map(|device| [0, 1].map(|phase| Times::new(device.iter().map(|d| d[phase])).median())),
        load: model.load_time(),
        setup,
        dispatches: session.schedules().map(|schedule| schedule.steps.len()),
    })
}

/// Logits are numbers, and the same bits when computed again.
fn check(session: &mut Session, prompt: &[u32]) -> Result<()> {
    let first = short_pass(session, prompt)?;
    if let Some(at) = first.iter().position(|logit| !logit.is_finite()) {
        return Err(format!("logit {at} is {}", first[at]).into());
    }
    let again = short_pass(session, prompt)?;
    match first.iter().zip(&again).position(|(a, b)| a.to_bits() != b.to_bits()) {
        Some(at) => Err(format!("logit {at} is {}, and {} when computed again", first[at], again[at]).into()),
        None => Ok(()),
    }
}

/// Logits of a decode step after a few tokens.
fn short_pass(session: &mut Session, prompt: &[u32]) -> Result<Vec<f32>, Error> {
    let gpu = session.model().gpu().clone();
    session.reset();
    gpu.block_on(session.feed(&prompt[..prompt.len().min(16)]))?;
    gpu.block_on(gpu.submit("decode", |encoder| session.decode_token(encoder, prompt[0])))?;
    gpu.block_on(session.logits(1))
}

/// A prompt until its first token is on the host, then an answer, recorded without waiting, until its last one is.
fn run(session: &mut Session, case: &Case) -> Result<Run> {
    let gpu = session.model().gpu().clone();
    session.reset();
    session.ledger().clear();
    let begin = Instant::now();
    gpu.block_on(session.feed(&case.prompt))?;
    gpu.block_on(session.last_sample())?;
    let prefill = begin.elapsed();

    let (begin, mut encode) = (Instant::now(), Duration::ZERO);
    for _ in 0..case.answer {
        let begin = Instant::now();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        session.decode(&mut encoder)?;
        let commands = encoder.finish();
        encode += begin.elapsed();
        gpu.queue().submit([commands]);
    }
    gpu.block_on(session.last_sample())?;
    let decode = begin.elapsed();

    gpu.block_on(session.ledger().collect(&gpu))?;
    let mut device = |phase| session.ledger().phase_time(phase).map(|(ns, ..)| Duration::from_nanos(ns));
    let device = device(Phase::Prefill).zip(device(Phase::Decode)).map(<[_; 2]>::from);
    Ok(Run { prefill, decode, encode, device })
}

impl Measured {
    /// The row of the table.
    pub fn cells(&self, case: &Case, roof: &Roof) -> Vec<String> {
        let answer = f64::from(case.answer);
        let per_token = |time: Duration| format!("{:.1}", microseconds(time) / answer);
        let bytes_per_s =
            case.decode_work().total_bytes().least as f64 * answer / self.decode.median().as_secs_f64();
        vec![
            case.config.name.clone(),
            case.format.to_string(),
            format!("{:.1}", case.bytes() as f64 / 1e6),
            format!("{:.2}", self.load.as_secs_f64()),
            format!("{:.2}", self.setup.as_secs_f64()),
            rate(&self.prefill, case.prompt.len() as f64),
            rate(&self.decode, answer),
            format!("{:.1}", self.prefill.median().as_secs_f64() * 1e3),
            self.device.map_or("-".into(), |[_, decode]| per_token(decode)),
            per_token(self.encode.median()),
            self.dispatches[1].to_string(),
            format!("{:.0}%", 100.0 * bytes_per_s / roof.bytes_per_s),
        ]
    }

    /// The rows of the file: prompt and answer.
    pub fn rows<'a>(&'a self, case: &'a Case) -> [Row<'a>; 2] {
        let nanoseconds = |time: Duration| time.as_nanos() as f64;
        let (prompt, answer) = (case.prompt.len() as f64, f64::from(case.answer));
        let row = |shape: String, times: &'a Times, phase: usize, tokens: f64| {
            let mut metrics = vec![
                ("tokens_per_s", tokens / times.median().as_secs_f64()),
                ("dispatches_per_pass", self.dispatches[phase] as f64),
                ("peak_bytes", case.bytes() as f64),
                ("weight_bytes", case.weight_bytes as f64),
                ("load_ns", nanoseconds(self.load)),
                ("setup_ns", nanoseconds(self.setup)),
            ];
            metrics.extend(self.device.map(|device| ("device_ns", nanoseconds(device[phase]))));
            Row { name: &case.config.name, shape, variant: case.format.to_string(), times, metrics }
        };
        let mut prefill = row(format!("prefill {prompt}"), &self.prefill, 0, prompt);
        prefill.metrics.push(("time_to_first_token_ns", nanoseconds(self.prefill.median())));
        let mut decode = row(format!("decode {answer} after {prompt}"), &self.decode, 1, answer);
        decode.metrics.push(("encode_ns_per_token", nanoseconds(self.encode.median()) / answer));
        [prefill, decode]
    }
}

/// How many per second when a run makes `count`, with the spread.
fn rate(times: &Times, count: f64) -> String {
    format!("{:.1} ±{:.0}%", count / times.median().as_secs_f64(), 50.0 * times.spread())
}
