//! Checks models against the outputs that another implementation computed from them.
//!
//! `cargo run --release --example verify -- [OPTIONS] DIR...`, where each DIR holds a checkpoint and its
//! `golden.safetensors`. Prints a line per directory, then `N passed, N failed`; fails when any failed.

mod options;

use std::process::ExitCode;

use options::Options;
use wattle::gpu::Capabilities;
use wattle::quant::WeightFormat;
use wattle::tuning::{ProductPath, Tuning};
use wattle::verify::{Arithmetic, Case, Device, Report, check};
use wattle::{Gpu, GpuOptions, Result};

/// The kernels of which one must run where a path was asked for.
fn kernels(path: ProductPath) -> &'static [&'static str] {
    match path {
        ProductPath::Float => &["matmul", "matvec"],
        ProductPath::Integer => &["quantize"],
        ProductPath::Matrix => &["matmul_coop"],
    }
}

fn main() -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    if let Some(message) = &options.unsupported {
        eprintln!("verify: {message}\n\n{}", options::USAGE);
        println!("{}", options.all_failed(message));
        return ExitCode::FAILURE;
    }
    let checked = open(&options).map(|device| match &device {
        Device::Gpu(gpu) => gpu.block_on(run(&device, &options)),
        Device::Cpu => pollster::block_on(run(&device, &options)),
    });
    match checked {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("{}", options.all_failed(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Checks every directory and returns how many failed.
async fn run(device: &Device, options: &Options) -> usize {
    let format = |format: Option<WeightFormat>| format.map_or("as said".into(), |format| format.to_string());
    println!("weights {}, experts {}, embedding {}", options.weights, format(options.experts), {
        format(options.embedding)
    });
    let path = options.path.unwrap_or(ProductPath::Float);
    // The table for CPUs never takes matrices; who asks for them wants them.
    let gpu = Capabilities { is_cpu: false, ..Capabilities::webgpu() };
    let tuning = (path == ProductPath::Matrix).then(|| Tuning::shipped(&gpu).into());
    let arithmetic = Arithmetic { path, tuning, cache: options.cache };
    println!("storage {:?}, path {}, cache {}", options.storage, path, options.cache);
    let mut failed = 0;
    for directory in &options.directories {
        let checked = match Case::open(directory) {
            Ok(case) => match options.plan(&case.source.config) {
                Ok(plan) => check(&case, device, &plan, arithmetic.clone()).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let shown = directory.display();
        match checked {
            Ok(mut report) => {
                if let Some(path) = options.path.filter(|_| !options.cpu) {
                    report.require_path(path, kernels(path));
                }
                failed += usize::from(!report.passed());
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
    failed
}

fn open(options: &Options) -> Result<Device> {
    if options.cpu {
        println!(
            "adapter: none, CPU reference; with other weights than f32 it is held against itself: whole, in chunks,"
        );
        println!("  and step by step, and 'rms of golden' says how far the format takes it");
        return Ok(Device::Cpu);
    }
    let gpu = Gpu::open_blocking(GpuOptions {
        baseline: options.baseline,
        cooperative_matrices: options.path == Some(ProductPath::Matrix),
        ..GpuOptions::default()
    })?;
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
