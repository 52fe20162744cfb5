//! The same products, attention or layers of experts, by Wattle, burn and llama.cpp: on one adapter, in one run, taking turns.

#[expect(dead_code, reason = "the bench of attention uses the rest")]
#[path = "../../support/attention/mod.rs"]
mod attention;
mod case;
mod check;
#[path = "../../support/copies.rs"]
mod copies;
mod heads;
mod layer;
mod ours;
mod peer;
mod routes;
#[path = "../../support/shapes.rs"]
mod shapes;
mod start;
#[expect(dead_code, reason = "other benches use the rest")]
#[path = "../../support/mod.rs"]
mod support;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use case::{Case, Kind};
use check::allowed_rounding;
use ours::Ours;
use peer::Peer;
use support::arguments::Arguments;
use support::roof::Roof;
use support::{Bench, LONGEST, Result, Times, print_skipped};
use table::{Comparison, Comparisons};
use wattle::Gpu;
use wattle::quant::WeightFormat;
use wattle::wgpu::Features;

const USAGE: &str = "[--attention | --experts] [--models] [--shapes 16x1024x1024,4x512x256 or, of experts, 64x512x256x8x2, of attention 8x4096x32x8x128] [--weights f32,int8] [--peers burn-wgsl,burn-spirv,llama] [--patience SECONDS] [--all]";

/// Turns that every side has at a row.
const TURNS: usize = 7;

/// What a turn of Wattle's takes at least, so that a submit costs little beside it.
const TURN: Duration = Duration::from_millis(30);

/// How long a peer may let us wait for an answer: longer than tuning takes on a GPU. On a software driver burn can spend more on
/// one kernel's compilation.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let [attention, experts] = ["--attention", "--experts"].map(|name| arguments.flag(name));
    let [models, all] = ["--models", "--all"].map(|name| arguments.flag(name));
    let kind = match (attention, experts) {
        (false, false) => Kind::Products,
        (true, false) => Kind::Attention,
        (false, true) => Kind::Experts,
        (true, true) => return Err("--attention and --experts are two tables".into()),
    };
    let parse = |text: String| text.split(',').map(|text| kind.parse(text)).collect();
    let given: Option<Vec<Case>> = arguments.value("--shapes")?.map(parse).transpose()?;
    let weights = arguments.value("--weights")?.unwrap_or_else(|| kind.formats().into());
    let names = arguments.value("--peers")?.unwrap_or_else(|| "burn-wgsl,burn-spirv,llama".into());
    let patience = arguments.value("--patience")?.map(|seconds| seconds.parse()).transpose()?;
    let patience = patience.map_or(PATIENCE, Duration::from_secs);
    arguments.finish(USAGE)?;
    let formats = weights.split(',').map(str::parse).collect::<Result<Vec<WeightFormat>, _>>()?;

    let bench = Bench::open("peers")?;
    let gpu = &bench.gpu;
    let mut peers = peers(gpu, &names, patience)?;
    let roof = Roof::measure(gpu)?;
    let mut comparisons = Comparisons::begin(kind.column());
    let mut skipped = Vec::new();
    for case in given.unwrap_or_else(|| kind.cases(models)) {
        for format in &formats {
            match case.copies(gpu, &roof, *format, (!all).then_some(LONGEST)) {
                Ok(copies) => row(gpu, &mut peers, (case, *format), copies, &mut comparisons, &mut skipped)?,
                Err(reason) => skipped.push(skip((case, *format), &reason)),
            }
        }
    }
    comparisons.summarize();
    print_skipped(&skipped);
    Ok(())
}

fn peers(gpu: &Gpu, names: &str, patience: Duration) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for name in names.split(',') {
        match name {
            "burn-wgsl" => peers.push(start::burn("burn-wgsl", gpu.info(), patience)?),
            "burn-spirv" => peers.push(start::burn("burn-spirv", gpu.info(), patience)?),
            "llama" => match start::llama(gpu.info(), patience).and_then(|llama| fair(gpu, llama)) {
                Ok(llama) => peers.push(llama),
                Err(reason) => println!("no rows of llama.cpp: {reason}"),
            },
            unknown => return Err(format!("there is no peer '{unknown}'; usage: {USAGE}").into()),
        }
    }
    Ok(peers)
}

/// Refuses llama.cpp where it has been built or started without something that Wattle has here.
fn fair(gpu: &Gpu, llama: Peer) -> Result<Peer> {
    let matrices = gpu.device().features().contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    let missing = [(gpu.capabilities().f16, "fp16: 0"), (matrices, "matrix cores: none")];
    match missing.iter().find(|(ours, off)| *ours && llama.capabilities.contains(off)) {
        Some((_, off)) => Err(format!("it says '{off}', which Wattle has here").into()),
        None => Ok(llama),
    }
}

fn row(
    gpu: &Gpu,
    peers: &mut [Peer],
    (case, format): (Case, WeightFormat),
    copies: u32,
    comparisons: &mut Comparisons,
    skipped: &mut Vec<String>,
) -> Result<()> {
    let mut ours = case.prepare(gpu, format, copies)?;
    let mut ready = Vec::new();
    for peer in peers {
        match prepare(peer, &ours, (case, format), copies) {
            Ok(how) => ready.push((peer, how, Vec::new())),
            Err(reason) => skipped.push(skip((case, format), &format!("{}: {reason}", peer.name))),
        }
    }
    let once = ours.run(1)?;
    let times = TURN.div_duration_f64(once).ceil().max(1.0) as u64;
    let mut our_times = Vec::new();
    for _ in 0..TURNS {
        our_times.push(ours.run(times)?);
        ready.retain_mut(|(peer, _, peer_times)| match peer.run(times) {
            Ok(time) => {
                peer_times.push(time);
                true
            }
            Err(reason) => {
                skipped.push(skip((case, format), &format!("{}: {reason}", peer.name)));
                false
            }
        });
    }
    let computed = times as f64 * f64::from(copies);
    let each = |times: Vec<Duration>| Times::new(times).median().as_secs_f64() / computed;
    let ours = (each(our_times), ours.kernel);
    let mut rows: Vec<Comparison> = Vec::new();
    for (peer, how, times) in ready {
        let (title, theirs) = (case.title(), each(times));
        let row = Comparison { title, format, ours, peer: peer.name, theirs, how };
        // Of burn's two only the faster counts.
        match rows.iter_mut().find(|other| other.family() == row.family()) {
            Some(other) if row.theirs < other.theirs => *other = row,
            Some(_) => (),
            None => rows.push(row),
        }
    }
    rows.into_iter().for_each(|row| comparisons.add(row));
    Ok(())
}

fn skip((case, format): (Case, WeightFormat), reason: &str) -> String {
    format!("{:<25}  {format:<5}  {reason}", case.title())
}

/// Hands a peer the numbers, and checks what it makes of them.
fn prepare(
    peer: &mut Peer,
    ours: &Ours,
    (case, format): (Case, WeightFormat),
    copies: u32,
) -> Result<String> {
    let numbers = &ours.numbers;
    numbers.write(&peer.folder)?;
    let how = peer.prepare(&case.request(format, copies))?;
    let (found, stored) = numbers.read(&peer.folder)?;
    let (error, rounding) = (numbers.error(&stored, &found)?, numbers.rounding(&stored));
    match error <= numbers.allowed().peers && rounding <= allowed_rounding(format) {
        true => Ok(format!("{how} {error:.0e}")),
        false => Err(format!("wrong: results by {error:.1e}, weights by {rounding:.1e}").into()),
    }
}
