//! Whether a model fits, asked before it is made.

use wattle::wgpu::{BufferUsages, DeviceType};
use wattle::{Error, Gpu};

use crate::support::Result;
use crate::support::chain::wait;

/// What is lacking when `bytes` are more than there are.
pub fn lacks(gpu: &Gpu, bytes: u64) -> Result<Option<String>> {
    let shares_memory = matches!(gpu.info().device_type, DeviceType::Cpu | DeviceType::IntegratedGpu);
    if let Some(free) = free_bytes().filter(|_| shares_memory) {
        // Such a device may hand out memory that is not there, and fail when it is used.
        let reason = || format!("needs {}, {} are free", gigabytes(bytes), gigabytes(free));
        return Ok((bytes > free).then(reason));
    }
    let allocated = allocate(gpu, bytes);
    wait(gpu)?;
    match allocated {
        Ok(()) => Ok(None),
        Err(Error::Memory { .. }) => Ok(Some(format!("needs {}, the device refused", gigabytes(bytes)))),
        Err(other) => Err(other.into()),
    }
}

/// Allocates so much in pieces, and drops it again.
fn allocate(gpu: &Gpu, bytes: u64) -> Result<(), Error> {
    let piece = gpu.capabilities().max_buffer_bytes.min(gpu.capabilities().max_binding_bytes).min(1 << 30);
    let mut buffers = Vec::new();
    for _ in 0..bytes.div_ceil(piece) {
        buffers.push(gpu.block_on(gpu.buffer("trial", piece, BufferUsages::STORAGE))?);
    }
    Ok(())
}

/// Free bytes of the machine, where the system says.
fn free_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}
