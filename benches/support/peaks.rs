//! The most that an adapter does: bytes read, and multiplications in registers, each by a kernel that does nothing else.

use std::time::Instant;

use wattle::Gpu;
use wattle::wgpu::{self, BufferUsages};

use crate::support::Result;
use crate::support::chain::wait;
use crate::support::roof::per_second;

/// Rates of an adapter.
pub struct Peaks {
    /// Bytes read per second.
    pub read_bytes_per_s: f64,
    /// Operations of f32 multiply-adds per second, each of them two.
    pub f32_ops_per_s: f64,
    /// Operations of packed dot products of 8-bit integers per second, each of them eight.
    pub i8_ops_per_s: f64,
}

impl Peaks {
    /// Measures and prints them.
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        // More than the last cache of a GPU, and as much for every lane.
        let bytes =
            gpu.capabilities().max_buffer_bytes.min(gpu.capabilities().max_binding_bytes).min(512 << 20);
        let workgroups = if gpu.capabilities().is_cpu { 64 } else { 4096 };
        let lanes = 256.0 * f64::from(workgroups);
        let rate = |text: &str, bytes, amount| rate(gpu, (text, workgroups), bytes, amount);
        let read = |in_runs: bool| {
            let text = format!("const IN_RUNS: bool = {in_runs};\n{}", include_str!("peaks/read.wgsl"));
            rate(&text, bytes, bytes as f64)
        };
        let peaks = Self {
            read_bytes_per_s: f64::max(read(false)?, read(true)?),
            f32_ops_per_s: rate(include_str!("peaks/multiply_f32.wgsl"), 32, lanes * 256.0 * 32.0 * 2.0)?,
            i8_ops_per_s: rate(include_str!("peaks/multiply_i8.wgsl"), 32, lanes * 256.0 * 8.0 * 8.0)?,
        };
        let rates = [peaks.read_bytes_per_s, peaks.f32_ops_per_s, peaks.i8_ops_per_s].map(|rate| rate / 1e9);
        println!(
            "read {:.1} GB/s, f32 multiply-adds {:.0} Gop/s, packed 8-bit dot products {:.0} Gop/s",
            rates[0], rates[1], rates[2]
        );
        Ok(peaks)
    }
}

/// What a dispatch over a buffer of so many bytes does per second.
fn rate(gpu: &Gpu, (text, workgroups): (&str, u32), bytes: u64, amount: f64) -> Result<f64> {
    let device = gpu.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("peak"),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("peak"),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let buffers = [gpu.block_on(gpu.buffer("from", bytes, BufferUsages::STORAGE))?, {
        gpu.block_on(gpu.buffer("to", 16, BufferUsages::STORAGE))?
    }];
    let entries = [0, 1]
        .map(|n| wgpu::BindGroupEntry { binding: n, resource: buffers[n as usize].as_entire_binding() });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("peak"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    per_second(amount, |times| {
        let begin = Instant::now();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        for _ in 0..times {
            pass.dispatch_workgroups(workgroups, 1, 1);
        }
        drop(pass);
        gpu.queue().submit([encoder.finish()]);
        wait(gpu)?;
        Ok(begin.elapsed())
    })
}
