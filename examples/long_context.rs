//! A step far into a context: what it needs, planned before anything is allocated, and what it takes.
//!
//! `cargo run --release --example long_context -- [--model gemma3-1b] [--weights int4] [--cache f16] [--tokens 131072] [--steps 3]`
//!
//! Weights, keys and values are random: they cost what others cost. No prompt is read.

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use wattle::fragments::CacheFormat;
use wattle::model::config::ModelConfig;
use wattle::model::forward::Sampling;
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;
use wattle::model::presets::preset;
use wattle::model::session::SessionPlan;
use wattle::model::{Model, Session, SessionOptions};
use wattle::quant::WeightFormat;
use wattle::{Gpu, GpuOptions};

const USAGE: &str =
    "long_context [--model gemma3-1b] [--weights int4] [--cache f16] [--tokens 131072] [--steps 3]";

struct Options {
    model: String,
    weights: WeightFormat,
    cache: CacheFormat,
    /// In the caches when the last step is done.
    tokens: u32,
    steps: u32,
}

fn main() -> ExitCode {
    match Options::read().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::open_blocking(GpuOptions::default())?;
    let info = gpu.info();
    println!("adapter  {} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info);
    let config = preset(&options.model).ok_or_else(|| format!("there is no model '{}'", options.model))?;
    let config = ModelConfig { context_length: options.tokens, ..config };
    let weight_plan = WeightPlan::uniform(options.weights);
    let layout = Layout::new(&config, &weight_plan, gpu.capabilities())?;
    let session_options =
        SessionOptions { cache: options.cache, ..SessionOptions::new(options.tokens, Sampling::GREEDY) };
    let plan = SessionPlan::new(&config, &layout, gpu.capabilities(), &session_options)?;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let caches = plan.named_bytes().into_iter().filter(|(name, _)| name.ends_with("_cache"));
    let caches: u64 = caches.map(|(_, bytes)| bytes).sum();
    let weights = layout.bytes();
    println!(
        "planned  {:.1} MB: weights {:.1} MB in {}, the embedding in {}, caches {:.1} MB in {}",
        mb(weights + plan.bytes()),
        mb(weights),
        options.weights,
        weight_plan.embedding,
        mb(caches),
        options.cache
    );
    for matrix in layout.matrices().filter(|matrix| matrix.shards.len() > 1) {
        println!("split    {} over {} bindings", matrix.name, matrix.shards.len());
    }
    let begin = Instant::now();
    let model = gpu.block_on(Model::random(&gpu, &config, weight_plan, 1))?;
    println!("loaded   in {:.1} s", begin.elapsed().as_secs_f64());

    let mut session = gpu.block_on(Session::new(&model, session_options))?;
    let begin = Instant::now();
    let first = session.first();
    session.fill(first, options.tokens - options.steps, 1)?;
    println!("filled   {} tokens in {:.1} s", session.position(), begin.elapsed().as_secs_f64());
    for step in 0..options.steps {
        let begin = Instant::now();
        let record = |encoder: &mut _| match step {
            0 => session.decode_token(encoder, 1),
            _ => session.decode(encoder),
        };
        gpu.block_on(gpu.submit("step", record))?;
        let token = gpu.block_on(session.last_sample())?;
        let logits = gpu.block_on(session.logits(1))?;
        if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(format!("logit {at} is {}", logits[at]).into());
        }
        println!("step     token {token} in {:.2} s", begin.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            model: "gemma3-1b".into(),
            weights: "int4".parse()?,
            cache: CacheFormat::F16,
            tokens: 131_072,
            steps: 3,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value; usage: {USAGE}"))?;
            match name.as_str() {
                "--model" => options.model = value,
                "--weights" => options.weights = value.parse()?,
                "--cache" => options.cache = value.parse()?,
                "--tokens" => options.tokens = value.parse()?,
                "--steps" => options.steps = value.parse()?,
                _ => return Err(format!("{name} is not an option; usage: {USAGE}").into()),
            }
        }
        match options.steps > 0 && options.steps < options.tokens {
            true => Ok(options),
            false => Err("there must be a step, and a token before it".into()),
        }
    }
}
