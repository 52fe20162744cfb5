//! What the adapter can do at most, measured in a moment: enough to predict, not to publish.

use std::time::{Duration, Instant};

use wattle::Gpu;
use wattle::energy::Work;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;
use wattle::wgpu::BufferUsages;

use super::Result;
use super::chain::wait;
use super::products::{Products, check, tuned};

/// Bandwidth and arithmetic of an adapter.
pub struct Roof {
    /// Bytes read and written by a copy between two buffers, per second.
    pub bytes_per_s: f64,
    /// Operations of a large f32 `matmul`, a multiply-add being two, per second.
    pub matmul_ops_per_s: f64,
    /// Operations of a large int8 `matvec`, unpacking included, per second.
    pub matvec_ops_per_s: f64,
}

/// Long enough to dwarf what a submit costs.
const LONG_ENOUGH: Duration = Duration::from_millis(50);

impl Roof {
    /// Measures all of it.
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let roof = Self {
            bytes_per_s: copy_rate(gpu)?,
            matmul_ops_per_s: multiply_rate(gpu, WeightFormat::F32, [1024, 1024, 1024])?,
            matvec_ops_per_s: multiply_rate(gpu, "int8".parse()?, [1, 8192, 8192])?,
        };
        let rates = [roof.bytes_per_s, roof.matmul_ops_per_s, roof.matvec_ops_per_s].map(|rate| rate / 1e9);
        println!(
            "copy {:.1} GB/s, f32 matmul {:.1} G operations/s, int8 matvec {:.1} G operations/s",
            rates[0], rates[1], rates[2]
        );
        Ok(roof)
    }

    /// The least time that work on one row, or on many, takes: that of its bytes or that of its operations.
    pub fn time(&self, work: &Work, rows: u32) -> Duration {
        let ops_per_s = if rows == 1 { self.matvec_ops_per_s } else { self.matmul_ops_per_s };
        let bytes = work.total_bytes().least as f64 / self.bytes_per_s;
        let ops = work.total_ops().most as f64 / ops_per_s;
        Duration::from_secs_f64(bytes.max(ops))
    }
}

fn copy_rate(gpu: &Gpu) -> Result<f64> {
    // Larger than the last cache of most devices.
    let bytes = gpu.capabilities().max_buffer_bytes.min(gpu.capabilities().max_binding_bytes).min(128 << 20);
    let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let (from, to) =
        (gpu.block_on(gpu.buffer("from", bytes, usage))?, gpu.block_on(gpu.buffer("to", bytes, usage))?);
    per_second(2.0 * bytes as f64, |times| {
        let begin = Instant::now();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        for _ in 0..times {
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, bytes);
        }
        gpu.queue().submit([encoder.finish()]);
        wait(gpu)?;
        Ok(begin.elapsed())
    })
}

fn multiply_rate(gpu: &Gpu, format: WeightFormat, shape: [u32; 3]) -> Result<f64> {
    let kernel = tuned(gpu, format, shape, ProductPath::Float);
    check(gpu, kernel, format)?;
    let mut chain = Products::new(gpu, kernel, format, shape, (1, 1))?.chain;
    let ops = chain.work().total_ops().most as f64;
    per_second(ops, |times| Ok(chain.run(times)?.wall))
}

/// What is done per second when one time does `amount`: more times in one submit until it takes long enough.
pub fn per_second(amount: f64, mut run: impl FnMut(u64) -> Result<Duration>) -> Result<f64> {
    run(1)?;
    let mut times = 1;
    loop {
        let elapsed = run(times)?;
        if elapsed >= LONG_ENOUGH {
            return Ok(amount * times as f64 / elapsed.as_secs_f64());
        }
        times *= 2;
    }
}
