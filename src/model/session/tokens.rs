//! Tokens on their way to the device.

use super::Session;
use crate::gpu::{gpu_error, scoped_now};
use crate::kernel::{Span, SpanUniform};
use crate::{Error, Result};

impl Session {
    /// Checks tokens and puts them, with their place, on their way to the device.
    pub(super) fn begin(&mut self, encoder: &mut wgpu::CommandEncoder, ids: &[u32]) -> Result<Span> {
        self.check_tokens(ids)?;
        self.check_encoded()?;
        self.gpu().check()?;
        let span = Span { position: self.position, rows: ids.len() as u32 };
        let seed = self.options.sampling.map_or(0, |sampling| sampling.seed);
        let Span { position, rows } = span;
        self.send(encoder, SpanUniform { position, rows, step: self.samples, seed }, ids)?;
        Ok(span)
    }

    /// Copies span and ids within the encoder, so that passes recorded together each find their own.
    pub(super) fn send(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        span: SpanUniform,
        ids: &[u32],
    ) -> Result<()> {
        let task = self.options.task.unwrap_or(0);
        let parts: [&[u8]; 3] =
            [bytemuck::bytes_of(&span), bytemuck::bytes_of(&task), bytemuck::cast_slice(ids)];
        let [span_bytes, task_bytes, id_bytes] = parts.map(|part| part.len() as u64);
        let descriptor = wgpu::BufferDescriptor {
            label: Some("tokens"),
            size: span_bytes + task_bytes + id_bytes,
            usage: wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        };
        let staging = scoped_now(self.gpu().device(), |device| device.create_buffer(&descriptor))
            .map_err(|error| gpu_error("upload of tokens", error))?;
        staging
            .slice(..)
            .get_mapped_range_mut()
            .map_err(|error| Error::Gpu { operation: "upload of tokens".into(), message: error.to_string() })?
            .copy_from_slice(&parts.concat());
        staging.unmap();
        let (span, ids) = (&self.named["span"], &self.named["token_ids"]);
        encoder.copy_buffer_to_buffer(&staging, 0, span.buffer(), span.offset(), span_bytes);
        let at = span_bytes + task_bytes;
        encoder.copy_buffer_to_buffer(&staging, at, ids.buffer(), ids.offset(), id_bytes);
        if let Some(task) = self.named.get("task") {
            encoder.copy_buffer_to_buffer(&staging, span_bytes, task.buffer(), task.offset(), task_bytes);
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, span: Span, sampled: bool) {
        self.traced_rows = None;
        self.position += span.rows;
        self.next_on_device = sampled && self.options.sampling.is_some();
        self.samples += u32::from(self.next_on_device);
    }

    /// Whether tokens are there, known, and fit.
    pub(super) fn check_tokens(&self, ids: &[u32]) -> Result<()> {
        self.check_known(ids)?;
        self.check_room(ids.len())
    }

    /// Whether tokens are there, and known.
    pub(super) fn check_known(&self, ids: &[u32]) -> Result<()> {
        let vocab = self.model().config().vocab_size;
        if ids.is_empty() {
            return Err(Error::Request("the prompt is empty".into()));
        }
        if let Some(id) = ids.iter().find(|id| **id >= vocab) {
            return Err(Error::Request(format!("token {id} is outside the vocabulary of {vocab}")));
        }
        Ok(())
    }

    pub(super) fn check_room(&self, tokens: usize) -> Result<()> {
        self.check_room_after(self.position, tokens)
    }

    pub(super) fn check_room_after(&self, position: u32, tokens: usize) -> Result<()> {
        let context = self.options.context;
        match position as usize + tokens > context as usize {
            true => Err(Error::Request(format!(
                "{tokens} tokens after {position} do not fit into a context of {context}"
            ))),
            false => Ok(()),
        }
    }
}
