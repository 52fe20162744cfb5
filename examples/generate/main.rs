//! Continues a prompt: `cargo run --release --example generate -- --prompt "Once a girl named Lera"`.

mod options;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use options::{Options, Prompt};
use wattle::energy::Level;
use wattle::model::session::GenerateOptions;
use wattle::model::{LoadOptions, Model, Session, SessionOptions, open};
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
    let gpu = Gpu::open_blocking(GpuOptions { baseline: options.baseline, ..GpuOptions::default() });
    match gpu.and_then(|gpu| gpu.block_on(run(&gpu, &options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(gpu: &Gpu, options: &Options) -> Result<()> {
    let source = open(&options.model)?;
    let model = Model::load(gpu, &source, LoadOptions::new(options.plan)).await?;
    let is_bytes = model.config().vocab_size == BYTES;
    let prompt = tokens(&options.prompt, is_bytes, &options.model.display().to_string())?;
    let context = model.config().context_length;
    let settings = SessionOptions {
        ledger: if options.ledger.is_some() { Level::Window } else { Level::Counts },
        ..SessionOptions::new(context, options.sampling)
    };
    let mut session = Session::new(&model, settings).await?;
    // The file is opened before the work, so that a path that will not do costs nothing; it gets its name when whole.
    let ledger = options.ledger.as_deref().map(Draft::create).transpose()?;

    let room = (context as usize + 1).saturating_sub(prompt.len()) as u32;
    let request =
        GenerateOptions { max_tokens: options.max_tokens.min(room), stop_ids: options.stop_ids.clone() };
    let mut out = std::io::stdout().lock();
    if let Prompt::Text(text) = &options.prompt {
        write(&mut out, text.as_bytes())?;
    }
    let mut failed = None;
    let generated = session
        .generate(&prompt, &request, |token| {
            let text = if is_bytes { vec![token as u8] } else { format!("{token} ").into_bytes() };
            match write(&mut out, &text) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .await?;
    failed.map_or(Ok(()), Err)?;
    write(&mut out, b"\n")?;

    let count = generated.tokens.len();
    let per_second = count.saturating_sub(1) as f64 / generated.decode_time.as_secs_f64().max(1e-9);
    eprintln!(
        "{count} tokens, {per_second:.1} tokens/s after the first; loaded in {:.0} ms, first token after {:.0} ms",
        model.load_time().as_secs_f64() * 1e3,
        generated.time_to_first_token.as_secs_f64() * 1e3,
    );
    if let Some(draft) = ledger {
        session.ledger().collect(gpu).await?;
        draft.finish(|file| session.ledger().write_jsonl(gpu, file))?;
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

/// A file that is called by its name only once it is complete, and removed otherwise.
struct Draft<'a> {
    path: &'a Path,
    draft: PathBuf,
    file: BufWriter<File>,
}

impl<'a> Draft<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = PathBuf::from(draft);
        let file = File::create(&draft).map_err(|source| io_error(&draft, source))?;
        Ok(Self { path, draft, file: BufWriter::new(file) })
    }

    fn finish(mut self, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
        let filled = fill(&mut self.file).and_then(|()| self.file.flush());
        filled.and_then(|()| fs::rename(&self.draft, self.path)).map_err(|source| io_error(self.path, source))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Gone already where the file was finished; where it cannot be removed there is nobody left to tell.
        let _ = fs::remove_file(&self.draft);
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|source| io_error(Path::new("standard output"), source))
}
