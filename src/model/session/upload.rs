//! What passes need of the host, on its way within their encoder, so that passes recorded together each find their own.

use crate::gpu::{Gpu, gpu_error, scoped_now};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Bytes, and where they go.
#[derive(Default)]
pub(super) struct Upload {
    data: Vec<u8>,
    /// Where in the data, how many bytes, and where to.
    copies: Vec<(u64, u64, Tensor, u64)>,
}

impl Upload {
    /// Has words written to a tensor, `offset` bytes behind its beginning.
    pub fn add(&mut self, tensor: &Tensor, offset: u64, bytes: &[u8]) {
        self.copies.push((self.data.len() as u64, bytes.len() as u64, tensor.clone(), offset));
        self.data.extend_from_slice(bytes);
    }

    /// Records the copies.
    ///
    /// # Errors
    /// [`Error::Gpu`] where the device has no memory for them.
    pub fn record(self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("tokens"),
            size: self.data.len() as u64,
            usage: wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        };
        let staging = scoped_now(gpu.device(), |device| device.create_buffer(&descriptor))
            .map_err(|error| gpu_error("upload of tokens", error))?;
        staging
            .slice(..)
            .get_mapped_range_mut()
            .map_err(|error| Error::Gpu { operation: "upload of tokens".into(), message: error.to_string() })?
            .copy_from_slice(&self.data);
        staging.unmap();
        for (from, bytes, tensor, offset) in self.copies {
            encoder.copy_buffer_to_buffer(&staging, from, tensor.buffer(), tensor.offset() + offset, bytes);
        }
        Ok(())
    }
}
