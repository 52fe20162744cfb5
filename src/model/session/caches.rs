//! What sequences leave for their later tokens, copied from one place to another.

use std::collections::HashMap;

use wgpu::BufferUsages;

use super::pages::PageCopy;
use crate::gpu::Gpu;
use crate::schedule::Schedule;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// The caches of a session.
pub(super) struct Caches {
    /// Each with the bytes of a part, and whether parts are pages.
    tensors: Vec<(Tensor, u64, bool)>,
    /// A part in between, as no copy has its source and its destination in one buffer.
    between: Option<Tensor>,
}

impl Caches {
    /// Bytes of the part in between, of a session of so many sequences.
    pub fn between_bytes(schedule: &Schedule, sequences: u32) -> u64 {
        let most = schedule.caches.iter().map(|cache| cache.part_bytes).max().unwrap_or(0);
        if sequences > 1 { most } else { 0 }
    }

    pub async fn new(
        gpu: &Gpu,
        schedule: &Schedule,
        sequences: u32,
        named: &HashMap<String, Tensor>,
    ) -> Result<Self> {
        let mut tensors = Vec::new();
        for cache in &schedule.caches {
            let name = &schedule.tensors[cache.tensor.index()].name;
            let tensor = named.get(name).ok_or_else(|| Error::MissingTensor { name: name.clone() })?;
            let copied = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            if sequences > 1 && !tensor.buffer().usage().contains(copied) {
                return Err(Error::TensorMismatch {
                    name: name.clone(),
                    expected: "a buffer that can be copied from and to, for sequences that fork".into(),
                    found: format!("{:?}", tensor.buffer().usage()),
                });
            }
            tensors.push((tensor.clone(), cache.part_bytes, cache.paged));
        }
        let bytes = Self::between_bytes(schedule, sequences);
        let between =
            if bytes > 0 { Some(Tensor::zeroed(gpu, "cache part in between", bytes).await?) } else { None };
        Ok(Self { tensors, between })
    }

    /// Records that pages go to others.
    pub fn copy_pages(&self, encoder: &mut wgpu::CommandEncoder, copies: &[PageCopy]) {
        for copy in copies {
            self.copy(encoder, true, [copy.from, copy.to]);
        }
    }

    /// Records that all a sequence has of its own goes to another's place.
    pub fn copy_own(&self, encoder: &mut wgpu::CommandEncoder, [from, to]: [u32; 2]) {
        self.copy(encoder, false, [from, to]);
    }

    /// Records that some bytes of a tensor go elsewhere in it.
    pub fn copy_within(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        tensor: &Tensor,
        [from, to]: [u64; 2],
        bytes: u64,
    ) {
        let Some(between) = &self.between else { return };
        let (buffer, offset) = (tensor.buffer(), tensor.offset());
        encoder.copy_buffer_to_buffer(buffer, offset + from, between.buffer(), 0, bytes);
        encoder.copy_buffer_to_buffer(between.buffer(), 0, buffer, offset + to, bytes);
    }

    fn copy(&self, encoder: &mut wgpu::CommandEncoder, pages: bool, parts: [u32; 2]) {
        for (tensor, bytes, _) in self.tensors.iter().filter(|(_, _, paged)| *paged == pages) {
            self.copy_within(encoder, tensor, parts.map(|part| u64::from(part) * bytes), *bytes);
        }
    }
}
