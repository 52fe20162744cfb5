//! One weight matrix, quantized once and multiplied at three widths: `cargo run --release --example matmul`.

use wattle::energy::{Ledger, Level};
use wattle::fragments::Codec;
use wattle::kernel::{Launch, Span};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matvec::Matvec;
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::schedule::execute::Prepared;
use wattle::schedule::memory::MemoryPool;
use wattle::schedule::{Schedule, Site};
use wattle::{Gpu, GpuOptions, Result, Tensor};

const ROWS: usize = 512;
const COLS: usize = 384;

fn main() -> Result<()> {
    let gpu = Gpu::open_blocking(GpuOptions::default())?;
    gpu.block_on(run(&gpu))
}

async fn run(gpu: &Gpu) -> Result<()> {
    let weights = noise(1, ROWS * COLS);
    let x = noise(2, COLS);
    let exact = product(&weights, &x);
    for format in ["f32", "int8", "int4", "int2"] {
        let packed = PackedMatrix::pack(format.parse()?, ROWS, COLS, &weights)?;
        let y = matvec(gpu, &packed, &x).await?;
        let kb = packed.words.len() as f64 * 4.0 / 1e3;
        println!("{format:<5} {kb:>7.1} kB of codes, relative error {:.2e}", relative_error(&exact, &y));
    }
    Ok(())
}

/// `y = w x`, as a schedule of one dispatch.
async fn matvec(gpu: &Gpu, w: &PackedMatrix, x: &[f32]) -> Result<Vec<f32>> {
    let variant = Matvec::new(Codec::of(w.format, gpu.capabilities()), w.cols as u32);
    let params = LinearParams::dense(w.format, w.rows as u32, w.cols as u32);
    let mut schedule = Schedule::new(1);
    let mut tensors = vec![
        ("words", schedule.named("words", 4 * w.words.len() as u64)),
        ("x", schedule.named("x", 4 * w.cols as u64)),
        ("y", schedule.named("y", 4 * w.rows as u64)),
    ];
    if matches!(w.format, WeightFormat::Int(_)) {
        tensors.push(("scales", schedule.named("scales", 8 * w.scales.len() as u64)));
    }
    schedule.dispatch(
        Site { sublayer: None, what: "product" },
        Launch { variant, params }.shared(),
        &tensors,
    )?;

    let words = Tensor::upload(gpu, "words", &w.words).await?;
    let scales = Tensor::upload(gpu, "scales", &w.scales).await?;
    let x = Tensor::upload(gpu, "x", x).await?;
    let y = Tensor::zeroed(gpu, "y", 4 * w.rows as u64).await?;
    let named = |name: &str| match name {
        "words" => Some(words.clone()),
        "scales" => Some(scales.clone()),
        "x" => Some(x.clone()),
        "y" => Some(y.clone()),
        _ => None,
    };
    let span = Span { position: 0, rows: 1 };
    let span_tensor = Tensor::span(gpu, &[span.into()]).await?;
    // One dispatch has no activations, so its plan and its pool are empty.
    let plan = MemoryPool::default().plan(&schedule);
    let prepared = Prepared::new(gpu, schedule, &plan, &[], &span_tensor, named).await?;
    let mut ledger = Ledger::new(gpu, Level::Off).await?;
    gpu.submit("matvec", |encoder| prepared.encode(encoder, span, &mut ledger)).await?;
    y.read(gpu, 0, w.rows).await
}

/// Numbers between -1 and 1 without a pattern (a linear congruential generator).
fn noise(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn product(weights: &[f32], x: &[f32]) -> Vec<f32> {
    weights.chunks_exact(COLS).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn relative_error(exact: &[f32], found: &[f32]) -> f32 {
    let distance: f32 = exact.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum();
    (distance / exact.iter().map(|a| a * a).sum::<f32>()).sqrt()
}
