//! The same products by Wattle, burn and llama.cpp: on one adapter, in one run, taking turns.

mod check;
#[path = "../../support/copies.rs"]
mod copies;
mod ours;
mod peer;
#[path = "../../support/shapes.rs"]
mod shapes;
mod start;
#[expect(dead_code, reason = "other benches use the rest")]
#[path = "../../support/mod.rs"]
mod support;
mod table;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use check::{Computed, PEER_ERROR, allowed_rounding, rounding, worst_error};
use copies::copies;
use ours::Ours;
use peer::Peer;
use shapes::{MODELS, ROWS, SMALL, Shape, parse, shapes, title};
use support::arguments::Arguments;
use support::roof::Roof;
use support::{Bench, Result, Times, print_skipped};
use table::{Comparison, Comparisons};
use wattle::Gpu;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;
use wattle::wgpu::Features;

const USAGE: &str = "[--models] [--shapes 16x1024x1024,4x512x256] [--weights f32,int8] [--peers burn-wgsl,burn-spirv,llama] [--all]";

/// Turns that every side has at a row.
const TURNS: usize = 7;

/// What a turn of Wattle's takes at least, so that a submit costs little beside it.
const TURN: Duration = Duration::from_millis(30);

/// Rows of which Wattle's turns alone would take longer are skipped unless all are asked for.
const LONGEST: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    support::exit(run())
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let (models, all) = (arguments.flag("--models"), arguments.flag("--all"));
    let given = arguments.value("--shapes")?;
    let given = given.map(|text| text.split(',').map(parse).collect::<Result<Vec<_>, _>>()).transpose()?;
    let weights = arguments.value("--weights")?.unwrap_or_else(|| "f32,f16,int8,int4,int2".into());
    let names = arguments.value("--peers")?.unwrap_or_else(|| "burn-wgsl,burn-spirv,llama".into());
    arguments.finish(USAGE)?;
    let formats = weights.split(',').map(str::parse).collect::<Result<Vec<WeightFormat>, _>>()?;

    let bench = Bench::open("peers")?;
    let gpu = &bench.gpu;
    let mut peers = peers(gpu, &names)?;
    let roof = Roof::measure(gpu)?;
    let mut comparisons = Comparisons::begin();
    let mut skipped = Vec::new();
    for shape in given.unwrap_or_else(|| shapes(if models { &MODELS } else { &SMALL }, &ROWS)) {
        for format in &formats {
            // Where there are many rows, reading the weights is a small part of the time, and where they come from a
            // smaller one.
            let runs = (TURNS as u32, 1, shape[0].div_ceil(16), (!all).then_some(LONGEST));
            match copies(gpu, &roof, *format, shape, ProductPath::Matrix, runs) {
                Ok(copies) => row(gpu, &mut peers, *format, shape, copies, &mut comparisons, &mut skipped)?,
                Err(reason) => skipped.push(skip(shape, *format, &reason)),
            }
        }
    }
    comparisons.summarize();
    print_skipped(&skipped);
    Ok(())
}

fn peers(gpu: &Gpu, names: &str) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for name in names.split(',') {
        match name {
            "burn-wgsl" => peers.push(start::burn("burn-wgsl", gpu.info())?),
            "burn-spirv" => peers.push(start::burn("burn-spirv", gpu.info())?),
            "llama" => match start::llama(gpu.info()).and_then(|llama| fair(gpu, llama)) {
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
    format: WeightFormat,
    shape: Shape,
    copies: u32,
    comparisons: &mut Comparisons,
    skipped: &mut Vec<String>,
) -> Result<()> {
    let mut ours = Ours::prepare(gpu, format, shape, copies)?;
    let mut ready = Vec::new();
    for peer in peers {
        match prepare(peer, &ours, &format.to_string(), shape, copies) {
            Ok(how) => ready.push((peer, how, Vec::new())),
            Err(reason) => skipped.push(skip(shape, format, &format!("{}: {reason}", peer.name))),
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
                skipped.push(skip(shape, format, &format!("{}: {reason}", peer.name)));
                false
            }
        });
    }
    let products = times as f64 * f64::from(copies);
    let each = |times: Vec<Duration>| Times::new(times).median().as_secs_f64() / products;
    let ours = (each(our_times), ours.kernel);
    let mut rows: Vec<Comparison> = Vec::new();
    for (peer, how, times) in ready {
        let row = Comparison { shape, format, ours, peer: peer.name, theirs: each(times), how };
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

fn skip(shape: Shape, format: WeightFormat, reason: &str) -> String {
    format!("{:<23}  {format:<5}  {reason}", title(shape))
}

/// Hands a peer the numbers, and checks what it makes of them.
fn prepare(peer: &mut Peer, ours: &Ours, format: &str, shape: Shape, copies: u32) -> Result<String> {
    let write = |file: &str, values: &[f32]| fs::write(peer.folder.join(file), bytemuck::cast_slice(values));
    write("x.f32", &ours.products.x)?;
    write("w.f32", &ours.weights)?;
    let how = peer.prepare(format, shape, copies)?;
    let (y, stored) = (read(&peer.folder.join("y.f32"))?, read(&peer.folder.join("stored.f32"))?);
    let error = worst_error(shape, &Computed { x: &ours.products.x, weights: &stored, y: &y })?;
    let rounding = rounding(&ours.weights, &stored);
    match error <= PEER_ERROR && rounding <= allowed_rounding(format) {
        true => Ok(format!("{how} {error:.0e}")),
        false => Err(format!("wrong: sums by {error:.1e}, weights by {rounding:.1e}").into()),
    }
}

fn read(file: &Path) -> Result<Vec<f32>> {
    Ok(bytemuck::pod_collect_to_vec(&fs::read(file)?))
}
