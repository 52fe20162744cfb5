//! The bundled models at every width: bytes, loss on text they have not seen, and a sample.
//!
//! `cargo run --release --example widths -- [--kib N]`: N KiB of the held-out text (default 8, at most all 64).

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use wattle::energy::Level;
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::plan::WeightPlan;
use wattle::model::session::GenerateOptions;
use wattle::model::{LoadOptions, Model, Session, SessionOptions, open};
use wattle::{Error, Gpu, GpuOptions, Result};

/// Stories begin after a newline and end with one.
const PROMPT: &str = "\n";
const SAMPLE: u32 = 160;

fn main() -> Result<()> {
    let kib = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => 8,
        [flag, n] if flag == "--kib" => {
            n.parse().map_err(|_| Error::Request(format!("--kib: '{n}' is no number")))?
        }
        _ => return Err(Error::Request("usage: widths [--kib N]".into())),
    };
    let gpu = Gpu::open_blocking(GpuOptions::default())?;
    gpu.block_on(run(&gpu, kib))
}

async fn run(gpu: &Gpu, kib: usize) -> Result<()> {
    let info = gpu.info();
    println!("adapter {} ({} {})", info.name, info.driver, info.driver_info);
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let text = read(&models.join("heldout.txt"))?;
    let end = text.len().min(kib * 1024);
    let stories: Vec<_> = text[..end].split_inclusive('\n').filter(|story| story.ends_with('\n')).collect();
    println!("{} held-out stories\n", stories.len());
    for name in ["stories-nested", "stories"] {
        let source = open(models.join(name))?;
        println!("{name}");
        for width in ["f32", "int8", "int6", "int4", "int3", "int2"] {
            let plan = WeightPlan::uniform(width.parse()?);
            let model = Model::load(gpu, &source, LoadOptions::new(plan)).await?;
            let loss = loss(&model, &stories).await?;
            let sample = sample(&model).await?;
            println!("  {width:<5} {:>8} bytes  {loss:.4} nats/byte  {sample}", model.layout().bytes());
        }
    }
    Ok(())
}

/// Mean negative log-likelihood of a byte given those before it in its story, in nats. A story is told after a
/// newline and nothing else; its own newline is its last byte.
async fn loss(model: &Model, stories: &[&str]) -> Result<f64> {
    let longest = stories.iter().map(|story| story.len()).max().unwrap_or(1) as u32;
    let options = SessionOptions {
        logits: LogitRows::All,
        sampling: None,
        max_chunk: longest,
        ledger: Level::Off,
        ..SessionOptions::new(longest, Sampling::GREEDY)
    };
    let mut session = Session::new(model, options).await?;
    let (mut sum, mut count) = (0.0, 0);
    for story in stories {
        session.reset();
        let ids: Vec<u32> = PROMPT.bytes().chain(story.bytes()).map(u32::from).collect();
        let mut seen = 0;
        for chunk in ids[..story.len()].chunks(session.chunk_rows() as usize) {
            session.feed(chunk).await?;
            let logits = session.logits(chunk.len()).await?;
            for (row, next) in logits.chunks_exact(logits.len() / chunk.len()).zip(&ids[seen + 1..]) {
                sum += surprise(row, *next as usize);
                count += 1;
            }
            seen += chunk.len();
        }
    }
    Ok(sum / f64::from(count))
}

/// `-ln softmax(logits)[token]`.
fn surprise(logits: &[f32], token: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    sum.ln() - f64::from(logits[token] - largest)
}

async fn sample(model: &Model) -> Result<String> {
    let sampling = Sampling { temperature: 0.7, top_k: 40, top_p: 0.95, seed: 5 };
    let mut session = Session::new(model, SessionOptions::new(512, sampling)).await?;
    let prompt: Vec<u32> = PROMPT.bytes().map(u32::from).collect();
    let request = GenerateOptions { max_tokens: SAMPLE, stop_ids: vec![] };
    let generated = session.generate(&prompt, &request, |_| ControlFlow::Continue(())).await?;
    Ok(generated
        .tokens
        .into_iter()
        .map(|token| match token as u8 {
            b'\n' => ' ',
            byte if byte == b' ' || byte.is_ascii_graphic() => char::from(byte),
            _ => '·',
        })
        .collect())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Io { path: path.display().to_string(), source })
}
