//! Searches for blocks that have the most parameters, in all and at work on a token, in the time that a step may take.
//!
//! `cargo run --release --example block_search -- [--budget-ms X] [--svg FILE]`; other options are listed for an unknown one.
//!
//! Brainformer (arXiv 2306.00008) found its block by search under a step-time limit. There, each candidate was trained a
//! little, and its quality scored. Here nothing is trained: a **proxy** stands in for quality, the geometric mean of a
//! block's parameters and its activated parameters. What is found is what a device runs well, and not what learns well.

mod counts;
mod device;
mod evolution;
mod options;
mod oracle;
mod pareto;
mod published;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../tests/support/random.rs"]
mod random;
mod report;
mod shape;
mod space;
#[expect(dead_code, reason = "benches use the rest")]
#[path = "../../benches/support/mod.rs"]
mod support;
mod svg;
mod verdict;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use device::Device;
use options::Options;
use oracle::{Candidate, Meter, Oracle, Result};
use published::{GLAM, PUBLISHED};
use report::{Found, Outcome, Run};
use shape::Shape;
use svg::Chart;
use verdict::Best;
use wattle::{Gpu, GpuOptions};

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => support::exit(run(&options)),
        Err(message) => {
            eprintln!("block_search: {message}\n\n{}", options::usage());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if !options.on_device {
        let by = options.roofline.to_string();
        return search(options, &by, Oracle::new(options.shape, options.roofline));
    }
    let gpu = Gpu::open_blocking(GpuOptions::default())?;
    let device = Device { gpu, runs: options.runs, format: options.roofline.format };
    let by = device.to_string();
    search(options, &by, Oracle::new(options.shape, device))
}

fn search<M: Meter>(options: &Options, measured_by: &str, mut oracle: Oracle<M>) -> Result<()> {
    report::print_question(options, measured_by);
    // What is measured first pays for a device that wakes up.
    oracle.again(&GLAM)?;
    let mut published = Vec::new();
    for (name, block) in PUBLISHED {
        published.push((name, oracle.ask(&block)?));
    }
    let search = options.search(options.budget_ms.unwrap_or(oracle.ask(&GLAM)?.step.ms));
    report::print_published(&published, search.budget_ms);
    let mut runs = Vec::new();
    for seed in options.seed..options.seed + options.seeds {
        let evolved = search.evolve(&mut oracle, seed)?;
        let random = search.at_random(&mut oracle, seed)?;
        let mut found = |all: Vec<Candidate>| -> Result<Found> {
            Ok(Found { best: Best::of(&search, &mut oracle, &all)?, all })
        };
        runs.push(Run { seed, evolution: found(evolved)?, random: found(random)? });
    }
    let front = pareto::front(oracle.known());
    let outcome = Outcome { options, measured_by, search, published, runs, front };
    if let Some(path) = &options.svg {
        write(path, &picture(&outcome))?;
    }
    if let Some(path) = &options.json {
        write(path, &(serde_json::to_string_pretty(&outcome.json())? + "\n"))?;
    }
    outcome.print_searches();
    outcome.print_front();
    Ok(())
}

fn picture(outcome: &Outcome<'_>) -> String {
    let Outcome { options, measured_by, search, published, runs, front } = outcome;
    let random: Vec<_> = runs.iter().flat_map(|run| &run.random.all).copied().collect();
    let evolved: Vec<_> = runs.iter().flat_map(|run| &run.evolution.all).copied().collect();
    let best = runs.iter().filter_map(|run| run.evolution.best.map(|best| best.candidate));
    let best = best.max_by(|a, b| a.proxy().total_cmp(&b.proxy()));
    let Shape { scale, experts, repeats, tokens } = options.shape;
    let chart = Chart {
        title: "Blocks of eight sub-layers by step time and parameters",
        subtitle: &format!(
            "{tokens} tokens a step, {repeats} x 8 sub-layers, {experts} experts, widths x {scale}"
        ),
        measured_by,
        random: &random,
        evolved: &evolved,
        front,
        published,
        best: best.as_ref(),
        budget_ms: search.budget_ms,
    };
    chart.svg()
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
