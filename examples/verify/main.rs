//! Checks models against the outputs that another implementation computed from them.
//!
//! `cargo run --release --example verify -- [OPTIONS] DIR...`, where each DIR holds a checkpoint and its
//! `golden.safetensors`. Prints a line per directory, then `N passed, N failed`; fails when any failed.

mod options;

use std::process::ExitCode;

use options::Options;
use wattle::verify::{Case, Device, Report, check};
use wattle::{Gpu, GpuOptions, Result};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("verify: {message}\n\n{}", options::USAGE);
            return ExitCode::FAILURE;
        }
    };
    if let Some(message) = &options.unsupported {
        options
            .directories
            .iter()
            .for_each(|directory| println!("{}: FAILED: {message}", directory.display()));
        println!("0 passed, {} failed", options.directories.len());
        return ExitCode::FAILURE;
    }
    let checked = open(&options).and_then(|device| match &device {
        Device::Gpu(gpu) => gpu.block_on(run(&device, &options)),
        Device::Cpu => pollster::block_on(run(&device, &options)),
    });
    match checked {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("verify: {error}");
            println!("0 passed, {} failed", options.directories.len());
            ExitCode::FAILURE
        }
    }
}

/// Checks every directory and returns how many failed.
async fn run(device: &Device, options: &Options) -> Result<usize> {
    println!("weights {}, experts {}, embedding {}", options.plan.linear, options.plan.experts, {
        options.plan.embedding
    });
    println!("storage sliced, path float, cache f32");
    let mut failed = 0;
    for directory in &options.directories {
        let checked = match Case::open(directory) {
            Ok(case) => check(&case, device, &options.plan).await,
            Err(error) => Err(error),
        };
        let shown = directory.display();
        match checked {
            Ok(report) => {
                failed += usize::from(!report.passed() || idle(options, &report));
                print_dispatches(&report);
                println!("{shown}: {report}");
            }
            Err(error) => {
                failed += 1;
                println!("{shown}: FAILED: {error}");
            }
        }
    }
    println!("{} passed, {failed} failed", options.directories.len() - failed);
    Ok(failed)
}

/// Whether a path that was asked for ran nothing.
fn idle(options: &Options, report: &Report) -> bool {
    !options.cpu && report.dispatches.iter().all(|(_, calls)| *calls == 0)
}

fn open(options: &Options) -> Result<Device> {
    if options.cpu {
        println!(
            "adapter: none, CPU reference; with other weights than f32 it is held against itself: whole, in chunks,"
        );
        println!("  and step by step, and 'rms of golden' says how far the format takes it");
        return Ok(Device::Cpu);
    }
    let gpu = Gpu::open_blocking(GpuOptions { baseline: options.baseline, ..GpuOptions::default() })?;
    let (info, can) = (gpu.info(), gpu.capabilities());
    println!("adapter: {} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info);
    println!(
        "features: f16 {}, subgroups {} ({}..{}), timestamps {}",
        can.f16, can.subgroups, info.subgroup_min_size, info.subgroup_max_size, can.timestamps
    );
    Ok(Device::Gpu(gpu))
}

fn print_dispatches(report: &Report) {
    let counts: Vec<_> =
        report.dispatches.iter().map(|(kernel, calls)| format!("{kernel} {calls}")).collect();
    if !counts.is_empty() {
        println!("  dispatches: {}", counts.join(", "));
    }
}
