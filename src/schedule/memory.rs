//! Memory from lifetimes: which activations share a buffer, known before anything is allocated.

use super::{Home, Schedule};
use crate::Result;
use crate::gpu::Gpu;
use crate::tensor::Tensor;

/// Buffers that the activations of one or more schedules share. Passes of a pool never overlap in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPool {
    /// Bytes of each buffer.
    pub buffers: Vec<u64>,
}

/// The buffer of every activation of one schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// By tensor; `None` for named tensors.
    pub buffer_of: Vec<Option<usize>>,
}

impl MemoryPool {
    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().sum()
    }

    /// Allocates the buffers.
    ///
    /// # Errors
    /// [`crate::Error::Memory`].
    pub async fn allocate(&self, gpu: &Gpu) -> Result<Vec<Tensor>> {
        let mut tensors = Vec::with_capacity(self.buffers.len());
        for (n, bytes) in self.buffers.iter().enumerate() {
            tensors.push(Tensor::zeroed(gpu, &format!("activations {n}"), *bytes).await?);
        }
        Ok(tensors)
    }

    /// Assigns buffers to a schedule's activations, growing the pool where it must.
    ///
    /// A tensor holds its buffer from the step that writes it to the last step that touches it, both included, so
    /// that a step never writes what it reads. Each takes the free buffer that fits most tightly, else the largest
    /// free one, grown, else a new one.
    pub fn plan(&mut self, schedule: &Schedule) -> MemoryPlan {
        let mut last_use = vec![0; schedule.tensors.len()];
        for (n, step) in schedule.steps.iter().enumerate() {
            for (_, id) in &step.tensors {
                last_use[id.index()] = n;
            }
        }
        let mut buffer_of = vec![None; schedule.tensors.len()];
        let mut free = vec![true; self.buffers.len()];
        for (n, step) in schedule.steps.iter().enumerate() {
            for (_, id) in &step.tensors {
                let tensor = &schedule.tensors[id.index()];
                if tensor.home == Home::Activation && buffer_of[id.index()].is_none() {
                    let buffer = self.take(&mut free, tensor.bytes);
                    buffer_of[id.index()] = Some(buffer);
                }
            }
            for (_, id) in &step.tensors {
                if let (Some(buffer), true) = (buffer_of[id.index()], last_use[id.index()] == n) {
                    free[buffer] = true;
                }
            }
        }
        MemoryPlan { buffer_of }
    }

    fn take(&mut self, free: &mut Vec<bool>, bytes: u64) -> usize {
        let candidates = || (0..free.len()).filter(|&b| free[b]);
        let tightest = candidates().filter(|&b| self.buffers[b] >= bytes).min_by_key(|&b| self.buffers[b]);
        let chosen =
            tightest.or_else(|| candidates().max_by_key(|&b| self.buffers[b])).unwrap_or_else(|| {
                self.buffers.push(0);
                self.buffers.len() - 1
            });
        free.resize(self.buffers.len(), false);
        free[chosen] = false;
        self.buffers[chosen] = self.buffers[chosen].max(bytes);
        chosen
    }
}
