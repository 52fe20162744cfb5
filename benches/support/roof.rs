//! What the adapter can do at most, measured in a moment: enough to predict, not to publish.

use std::time::{Duration, Instant};

use pollster::block_on;
use wattle::energy::Work;
use wattle::kernel::Launch;
use wattle::kernels::linear::{Codec, Epilogue, LinearParams};
use wattle::kernels::matmul::{Matmul, TileRows};
use wattle::quant::WeightFormat;
use wattle::wgpu::BufferUsages;
use wattle::{Gpu, Tensor};

use super::Result;
use super::chain::{Chain, wait};

/// Bandwidth and arithmetic of an adapter.
pub struct Roof {
    /// Bytes read and written by a copy between two buffers, per second.
    pub bytes_per_s: f64,
    /// Operations of a large f32 `matmul`, a multiply-add being two, per second.
    pub ops_per_s: f64,
}

/// Long enough to dwarf what a submit costs.
const LONG_ENOUGH: Duration = Duration::from_millis(50);

impl Roof {
    /// Measures both.
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let roof = Self { bytes_per_s: copy_rate(gpu)?, ops_per_s: multiply_rate(gpu)? };
        let (bytes, ops) = (roof.bytes_per_s / 1e9, roof.ops_per_s / 1e9);
        println!("copy {bytes:.1} GB/s, f32 matmul {ops:.1} G operations/s");
        Ok(roof)
    }

    /// The least time that work takes: that of its bytes or that of its operations.
    pub fn time(&self, work: &Work) -> Duration {
        let bytes = work.total_bytes().least as f64 / self.bytes_per_s;
        let ops = work.total_ops().most as f64 / self.ops_per_s;
        Duration::from_secs_f64(bytes.max(ops))
    }
}

fn copy_rate(gpu: &Gpu) -> Result<f64> {
    // Larger than the last cache of most devices.
    let bytes = gpu.capabilities().max_buffer_bytes.min(gpu.capabilities().max_binding_bytes).min(128 << 20);
    let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
    let (from, to) = (block_on(gpu.buffer("from", bytes, usage))?, block_on(gpu.buffer("to", bytes, usage))?);
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

fn multiply_rate(gpu: &Gpu) -> Result<f64> {
    const SIZE: u32 = 1024;
    let zeroed = |name: &str| block_on(Tensor::zeroed(gpu, name, u64::from(SIZE * SIZE) * 4));
    let variant = Matmul { codec: Codec::F32, epilogue: Epilogue::NONE, rows: TileRows::Dense };
    let params = LinearParams::dense(WeightFormat::F32, SIZE, SIZE);
    let names = ["x", "words", "y"];
    let mut tensors = std::collections::HashMap::new();
    for name in names {
        tensors.insert(name.to_owned(), zeroed(name)?);
    }
    let ends = names.map(|name| (name, name.to_owned())).to_vec();
    let link = (Launch { variant, params }.shared(), ends);
    let mut chain = Chain::new(gpu, &[link], &tensors, SIZE, SIZE)?;
    let ops = chain.work().total_ops().least as f64;
    per_second(ops, |times| Ok(chain.run(times)?.wall))
}

/// What is done per second when one time does `amount`: more times in one submit until it takes long enough.
fn per_second(amount: f64, mut run: impl FnMut(u64) -> Result<Duration>) -> Result<f64> {
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
