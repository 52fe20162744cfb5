//! Continues a prompt: `cargo run --release --example generate -- --prompt "Once a girl named Lera"`.

mod files;
mod options;

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use files::{Draft, io_error};
use options::{Options, Prompt};
use wattle::energy::Level;
use wattle::gpu::PipelineCache;
use wattle::model::plan::WeightPlan;
use wattle::model::session::GenerateOptions;
use wattle::model::{LoadOptions, Model, Session, SessionOptions, open};
use wattle::tuning::{ProductPath, Tuning, TuningFile};
use wattle::{Error, Gpu, GpuOptions, Result};

/// Tokens of a model that reads and writes bytes.
const BYTES: u32 = 256;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("generate: {message}\n\n{}", options::USAGE);
            return ExitCode::FAILURE;
        }
    };
    match start(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> Result<()> {
    let pipeline_cache = options.pipeline_cache.as_deref().map(read_cache).transpose()?.flatten();
    let gpu = Gpu::open_blocking(GpuOptions {
        baseline: options.baseline,
        cooperative_matrices: options.path == Some(ProductPath::Matrix),
        pipeline_cache,
        ..GpuOptions::default()
    })?;
    gpu.block_on(run(&gpu, options))?;
    match (&options.pipeline_cache, gpu.pipeline_cache()) {
        (Some(path), Some(cache)) => Draft::create(path)?.finish(|file| file.write_all(cache.bytes())),
        _ => Ok(()),
    }
}

/// The pipelines that an earlier run left; none where there was no earlier run.
fn read_cache(path: &Path) -> Result<Option<PipelineCache>> {
    match fs::read(path) {
        // SAFETY: whoever names the file vouches for it; this program writes it whole or not at all.
        Ok(bytes) => Ok(Some(unsafe { PipelineCache::from_bytes(bytes) })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path, error)),
    }
}

/// The table of a file for this adapter.
fn read_tuning(gpu: &Gpu, path: &Path) -> Result<Arc<Tuning>> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| io_error(path, error))?;
    let file = TuningFile::parse(&name, &text)?;
    let table = file.for_device(gpu.capabilities()).cloned();
    table.map(Arc::new).ok_or_else(|| Error::Request(format!("{name} has no table for {}", gpu.info().name)))
}

async fn run(gpu: &Gpu, options: &Options) -> Result<()> {
    let source = open(&options.model)?;
    let memory_ceiling = options.memory_ceiling;
    let load = LoadOptions {
        memory_ceiling,
        ..LoadOptions::new(WeightPlan::choose(&options.weights, &source.config)?)
    };
    let model = Model::load(gpu, &source, load).await?;
    let is_bytes = model.config().vocab_size == BYTES;
    let prompt = tokens(&options.prompt, is_bytes, &options.model.display().to_string())?;
    // Caches for what is asked, not for all that the model could do.
    let most = model.config().context_length;
    // Where there is an encoder, it reads the prompt, and the answer begins with a token of its own.
    let has_encoder = model.config().encoder.is_some();
    let before = if has_encoder { 1 } else { prompt.len() };
    let context = most.min((before as u32).saturating_add(options.max_tokens)).max(1);
    let settings = SessionOptions {
        tuning: options.tuning.as_deref().map(|path| read_tuning(gpu, path)).transpose()?,
        path: options.path.unwrap_or(ProductPath::Float),
        encoder_tokens: (prompt.len() as u32).max(1),
        memory_ceiling,
        ledger: if options.ledger.is_some() { Level::Window } else { Level::Counts },
        router_telemetry: options.ledger.is_some(),
        ..SessionOptions::new(context, options.sampling)
    };
    let mut session = Session::new(&model, settings).await?;
    // The file is opened before the work, so that a path that will not do costs nothing; it gets its name when whole.
    let ledger = options.ledger.as_deref().map(Draft::create).transpose()?;

    let room = (most as usize + 1).saturating_sub(before) as u32;
    let request =
        GenerateOptions { max_tokens: options.max_tokens.min(room), stop_ids: options.stop_ids.clone() };
    let mut out = std::io::stdout().lock();
    // The prompt is shown once it has been read.
    let mut shown = match &options.prompt {
        Prompt::Text(text) if !has_encoder => text.as_bytes(),
        Prompt::Text(_) | Prompt::Ids(_) => &[],
    };
    let mut failed = None;
    let generated = session
        .generate(&prompt, &request, |token| {
            let text = if is_bytes { vec![token as u8] } else { format!("{token} ").into_bytes() };
            match write(&mut out, &[std::mem::take(&mut shown), &text].concat()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .await?;
    failed.map_or(Ok(()), Err)?;
    write(&mut out, &[shown, b"\n"].concat())?;

    let count = generated.tokens.len();
    let per_second = count.saturating_sub(1) as f64 / generated.decode_time.as_secs_f64().max(1e-9);
    eprintln!(
        "{count} tokens, {per_second:.1} tokens/s after the first; loaded in {:.0} ms, first token after {:.0} ms",
        model.load_time().as_secs_f64() * 1e3,
        generated.time_to_first_token.as_secs_f64() * 1e3,
    );
    if count as u32 == room {
        eprintln!("the context of {most} tokens is full");
    }
    if let Some(draft) = ledger {
        session.ledger().collect(gpu).await?;
        draft.finish(|file| session.write_ledger(file))?;
    }
    Ok(())
}

fn tokens(prompt: &Prompt, is_bytes: bool, model: &str) -> Result<Vec<u32>> {
    match prompt {
        Prompt::Ids(ids) => Ok(ids.clone()),
        Prompt::Text(text) if is_bytes => Ok(text.bytes().map(u32::from).collect()),
        Prompt::Text(_) => {
            Err(Error::Request(format!("'{model}' does not read bytes; give its tokens with --prompt-ids")))
        }
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|source| io_error(Path::new("standard output"), source))
}
