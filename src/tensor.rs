//! A buffer, or a part of a host's buffer, that knows what it holds.

use crate::gpu::{Gpu, Signal, gpu_error};
use crate::kernel::{SPAN_BYTES, SequenceSpan, span_bytes};
use crate::{Error, Result};

/// Bytes on the device. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Tensor {
    buffer: wgpu::Buffer,
    offset: u64,
    bytes: u64,
}

/// How our buffers may be used: by kernels, and copied both ways.
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl Tensor {
    /// New memory, zeroed.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub async fn zeroed(gpu: &Gpu, name: &str, bytes: u64) -> Result<Self> {
        let buffer = gpu.buffer(name, bytes, USAGE).await?;
        Ok(Self { buffer, offset: 0, bytes: bytes.max(4) })
    }

    /// New memory with contents, uploaded at the next submit.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub async fn upload<T: bytemuck::NoUninit>(gpu: &Gpu, name: &str, data: &[T]) -> Result<Self> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let tensor = Self::zeroed(gpu, name, bytes.len() as u64).await?;
        gpu.scoped(|_| gpu.queue().write_buffer(&tensor.buffer, 0, bytes))
            .await
            .map_err(|error| gpu_error(format!("upload of '{name}'"), error))?;
        Ok(tensor)
    }

    /// The uniform that tells kernels which tokens of which sequences a pass computes. Sampling kernels move it on.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub async fn span(gpu: &Gpu, sequences: &[SequenceSpan]) -> Result<Self> {
        let buffer = gpu.buffer("span", SPAN_BYTES, USAGE | wgpu::BufferUsages::UNIFORM).await?;
        gpu.scoped(|_| gpu.queue().write_buffer(&buffer, 0, &span_bytes(0, sequences)))
            .await
            .map_err(|error| gpu_error("upload of 'span'", error))?;
        Ok(Self { buffer, offset: 0, bytes: SPAN_BYTES })
    }

    /// A part of a host's buffer. It needs `STORAGE` usage.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the part leaves the buffer, is misaligned for a binding, or the usage is missing.
    pub fn over(gpu: &Gpu, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Self> {
        let alignment = gpu.capabilities().binding_alignment;
        let refuse = |message: String| Error::Gpu { operation: "tensor over a buffer".into(), message };
        if !offset.is_multiple_of(alignment) {
            return Err(refuse(format!("the offset {offset} is no multiple of {alignment}")));
        }
        if bytes == 0 || offset.checked_add(bytes).is_none_or(|end| end > buffer.size()) {
            return Err(refuse(format!("{bytes} bytes at {offset} leave a buffer of {}", buffer.size())));
        }
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(refuse("it lacks STORAGE usage".into()));
        }
        Ok(Self { buffer: buffer.clone(), offset, bytes })
    }

    /// A part of a buffer that is known to hold it.
    pub(crate) fn part(buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Self {
        Self { buffer: buffer.clone(), offset, bytes }
    }

    /// The buffer.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Where in the buffer it starts, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: std::num::NonZeroU64::new(self.bytes),
        })
    }

    /// Copies `count` elements from element `first` on to the host. Submits, and completes once the device is done.
    /// Nothing in here waits; `Gpu::block_on` does.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`].
    pub async fn read<T: bytemuck::Pod>(&self, gpu: &Gpu, first: usize, count: usize) -> Result<Vec<T>> {
        let element = size_of::<T>() as u64;
        let [from, bytes] = [first, count].map(|elements| (elements as u64).saturating_mul(element));
        if from.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(Error::Gpu {
                operation: "read-back".into(),
                message: format!("{bytes} bytes at {from} leave a tensor of {}", self.bytes),
            });
        }
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = gpu.buffer("read-back", bytes, usage).await?;
        gpu.submit("read-back", |encoder| {
            encoder.copy_buffer_to_buffer(&self.buffer, self.offset + from, &staging, 0, bytes);
            Ok(())
        })
        .await?;
        read_staging(gpu, &staging, bytes).await
    }
}

/// Maps a buffer that the device has been told to fill and copies it out.
pub(crate) async fn read_staging<T: bytemuck::Pod>(
    gpu: &Gpu,
    staging: &wgpu::Buffer,
    bytes: u64,
) -> Result<Vec<T>> {
    let fail = |message: String| Error::Gpu { operation: "read-back".into(), message };
    let mapped = Signal::new(gpu);
    staging.map_async(wgpu::MapMode::Read, 0..bytes, mapped.setter());
    let result = mapped.await?;
    gpu.check()?;
    result.map_err(|error| fail(error.to_string()))?;
    let view = staging.slice(0..bytes).get_mapped_range().map_err(|error| fail(error.to_string()))?;
    let data = bytemuck::pod_collect_to_vec(&view[..]);
    drop(view);
    staging.unmap();
    Ok(data)
}
