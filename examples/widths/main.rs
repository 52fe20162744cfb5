//! The bundled models at every width: what a step reads, what it costs in quality on text they have not seen, how fast
//! it is, and a sample.
//!
//! `cargo run --release --example widths -- [--kib N] [--storage planes|parent|sliced]`: N KiB of the held-out text
//! (default 8, at most all 64). Of `planes` and `parent` one set of codes is loaded and served at every width.

mod measure;

use std::fs;
use std::path::Path;

use measure::{Quality, TOKENS, quality, read, sample, tokens_per_second};
use wattle::model::layout::{Matrix, OpLayout};
use wattle::model::plan::{PlanName, WeightPlan};
use wattle::model::slot::{Part, slots};
use wattle::model::{LoadOptions, Model, Source, open};
use wattle::quant::{Codes, Parent, QuantBlock, WeightFormat, Width};
use wattle::{Error, Gpu, GpuOptions, Result};

const PLANS: [&str; 8] = ["int8", "int6", "int4", "int3", "int3:ep", "int2", "int2:ep", "pyramid"];
const USAGE: &str = "usage: widths [--kib N] [--storage planes|parent|sliced]";

struct Options {
    kib: usize,
    /// What follows the name of a plan: `:planes`.
    suffix: String,
}

fn main() -> Result<()> {
    let options = parse(std::env::args().skip(1))?;
    let gpu = Gpu::open_blocking(GpuOptions::default())?;
    gpu.block_on(run(&gpu, &options))
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { kib: 8, suffix: ":planes".into() };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| Error::Request(USAGE.into()))?;
        match (flag.as_str(), value.as_str()) {
            ("--kib", n) => {
                options.kib = n.parse().map_err(|_| Error::Request(format!("--kib: '{n}' is no number")))?;
            }
            ("--storage", "sliced") => options.suffix = String::new(),
            ("--storage", storage @ ("planes" | "parent")) => options.suffix = format!(":{storage}"),
            _ => return Err(Error::Request(USAGE.into())),
        }
    }
    Ok(options)
}

async fn run(gpu: &Gpu, options: &Options) -> Result<()> {
    let info = gpu.info();
    println!("adapter {} ({} {})", info.name, info.driver, info.driver_info);
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let text = read_text(&models.join("heldout.txt"))?;
    let end = text.len().min(options.kib * 1024);
    let stories: Vec<_> = text[..end].split_inclusive('\n').filter(|story| story.ends_with('\n')).collect();
    println!("{} held-out stories; speed over {TOKENS} tokens, one at a time", stories.len());
    for name in ["stories-nested", "stories"] {
        let source = open(models.join(name))?;
        println!("\n{name}{}", options.suffix);
        println!("  plan        bits   read    kB/step  nats/byte      KL   top-1  tokens/s  sample");
        let f32 = load(gpu, &source, "f32").await?;
        let exact = read(&f32, &stories).await?;
        row("f32", &f32, 32.0, quality(&exact, &exact, &stories)).await?;
        let stored = load(gpu, &source, &format!("int8{}", options.suffix)).await?;
        for plan in PLANS {
            let text = format!("{plan}{}", options.suffix);
            let model = match options.suffix.is_empty() {
                true => load(gpu, &source, &text).await?,
                false => stored.served_at(&weights(&source, &text)?)?,
            };
            let found = read(&model, &stories).await?;
            row(plan, &model, effective_bits(&source, &model)?, quality(&exact, &found, &stories)).await?;
        }
    }
    Ok(())
}

fn weights(source: &Source, text: &str) -> Result<WeightPlan> {
    text.parse::<PlanName>()?.plan(&source.config)
}

async fn load(gpu: &Gpu, source: &Source, text: &str) -> Result<Model> {
    Model::load(gpu, source, LoadOptions::new(weights(source, text)?)).await
}

async fn row(plan: &str, model: &Model, bits: f64, quality: Quality) -> Result<()> {
    let Quality { nats, divergence, agreement } = quality;
    let bytes = model.layout().bytes_read_per_step() as f64;
    println!(
        "  {plan:<9}  {bits:>5.2}  {:>5.2}  {:>9.1}  {nats:>9.4}  {divergence:>7.4}  {:>5.1}%  {:>8.1}  {}",
        read_bits(model),
        bytes / 1e3,
        100.0 * agreement,
        tokens_per_second(model).await?,
        sample(model).await?,
    );
    Ok(())
}

/// Bits that a step reads of a weight of the blocks, scales not counted: a mean over the weights.
fn read_bits(model: &Model) -> f64 {
    let (mut bits, mut weights) = (0.0, 0.0);
    for layer in model.layout().sublayers() {
        let between = layer.projections.iter().flat_map(|of| [&of.into, &of.out]).map(with_format);
        let matrices = match &layer.op {
            OpLayout::Attention(attention) => [&attention.qkv, &attention.out].map(with_format).to_vec(),
            OpLayout::LatentAttention(attention) => attention.matrices().map(with_format).collect(),
            OpLayout::CrossAttention(cross) => [&cross.q, &cross.kv, &cross.out].map(with_format).to_vec(),
            OpLayout::FeedForward(ffn) => [&ffn.into, &ffn.down].map(with_format).to_vec(),
            OpLayout::Experts(experts) => {
                let shared = experts.shared.iter().flat_map(|ffn| [&ffn.into, &ffn.down]).map(with_format);
                let stacks = [&experts.into, &experts.down].into_iter();
                stacks
                    .flat_map(|stack| stack.formats.iter().map(|format| (&stack.matrices[0], *format)))
                    .chain(shared)
                    .collect()
            }
            OpLayout::LayerInput(input) => [&input.gate, &input.projection].map(with_format).to_vec(),
            // Its branches are sub-layers of their own.
            OpLayout::Parallel(_) => Vec::new(),
        };
        for (matrix, format) in between.chain(matrices) {
            let count = f64::from(matrix.rows) * f64::from(matrix.cols);
            let each = match format {
                WeightFormat::F32 => 32,
                WeightFormat::F16 => 16,
                WeightFormat::Int(int) => int.codes.read_bits(),
            };
            bits += count * f64::from(each);
            weights += count;
        }
    }
    bits / weights
}

fn with_format(matrix: &Matrix) -> (&Matrix, WeightFormat) {
    (matrix, matrix.format)
}

/// The widths of the blocks' weights and, with extra precision, the share of codes above what their bits hold, as the
/// paper counts bits (arXiv 2502.06786, section 4): a mean over the weights.
fn effective_bits(source: &Source, model: &Model) -> Result<f64> {
    let (mut bits, mut weights) = (0.0, 0.0);
    for (slot, shape) in slots(&source.config) {
        let (Some(at), Part::Weight, &[rows, cols]) = (slot.place.at(), slot.part, &shape[..]) else {
            continue;
        };
        let codes = codes(model, at.block);
        let mut each = f64::from(codes.width.bits());
        if codes.extra_precision {
            let parent = Parent::quantize(&source.fetch(slot, &shape)?, rows, cols, QuantBlock::Inputs(32))?;
            each += parent.overflow(codes.width);
        }
        bits += each * (rows * cols) as f64;
        weights += (rows * cols) as f64;
    }
    Ok(bits / weights)
}

/// The codes of a block, which all of its matrices share: plans by name give experts no widths of their own.
fn codes(model: &Model, block: usize) -> Codes {
    let of = |format| match format {
        WeightFormat::Int(int) => int.codes,
        WeightFormat::F32 | WeightFormat::F16 => Codes::sliced(Width::Int8),
    };
    let first = &model.layout().blocks[block][0];
    let first = match &first.op {
        OpLayout::Parallel(branches) => &branches[0],
        OpLayout::Attention(_)
        | OpLayout::LatentAttention(_)
        | OpLayout::CrossAttention(_)
        | OpLayout::FeedForward(_)
        | OpLayout::Experts(_)
        | OpLayout::LayerInput(_) => first,
    };
    match &first.op {
        OpLayout::Attention(attention) => of(attention.out.format),
        OpLayout::LatentAttention(attention) => of(attention.out.format),
        OpLayout::CrossAttention(cross) => of(cross.out.format),
        OpLayout::FeedForward(ffn) => of(ffn.down.format),
        OpLayout::LayerInput(input) => of(input.projection.format),
        OpLayout::Experts(experts) => of(experts.down.formats[0]),
        // Branches have none of their own.
        OpLayout::Parallel(_) => Codes::sliced(Width::Int8),
    }
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Io { path: path.display().to_string(), source })
}
