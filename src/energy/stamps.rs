//! Device timestamps: taken around passes, resolved in the same encoder, read back when asked for.

use crate::gpu::Gpu;
use crate::tensor::read_staging;
use crate::{Error, Result};

/// Queries of one set; the most that WebGPU allows.
const QUERIES: u32 = 4096;
/// Where resolved stamps may start: `QUERY_RESOLVE_BUFFER_ALIGNMENT`.
const ALIGNMENT: u64 = wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT;

/// How far a pair of timestamps can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampQuality {
    /// Both were written, in order.
    Exact,
    /// One was zero, the end came before the beginning, or more lay between them than passed on the host's clock.
    Invalid,
    /// None was taken: the level asks for none, the device has none, or too many were pending.
    Absent,
}

impl TimestampQuality {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Invalid => "invalid",
            Self::Absent => "absent",
        }
    }
}

/// The timestamps of one pass.
pub(crate) enum PassTimer {
    /// Two, around all dispatches.
    Whole(Stamps),
    /// Two around each dispatch, which then runs in a pass of its own.
    PerDispatch(Stamps),
}

/// A range of queries with the place their values go to.
pub(crate) struct Stamps {
    set: wgpu::QuerySet,
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) offset: u64,
}

impl Stamps {
    /// The writes around the `n`-th timed pass.
    pub(crate) fn writes(&self, n: usize) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let begin = self.first + 2 * n as u32;
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(begin),
            end_of_pass_write_index: Some(begin + 1),
        })
    }
}

/// Bytes of each of the two buffers of a [`StampBuffer`]: every pair may need an aligned place of its own.
const BUFFER_BYTES: u64 = QUERIES as u64 / 2 * ALIGNMENT;

/// Queries and the memory they resolve into, refilled after each read-back.
pub(crate) struct StampBuffer {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    period_ns: f32,
    used_queries: u32,
    used_bytes: u64,
}

impl StampBuffer {
    /// Bytes on a device with timestamps: the values, and what they are read back through.
    pub(crate) const BYTES: u64 = 2 * BUFFER_BYTES;

    /// For a device with timestamps.
    pub(crate) async fn new(gpu: &Gpu) -> Result<Self> {
        let set = gpu
            .scoped(|device| {
                device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("ledger"),
                    ty: wgpu::QueryType::Timestamp,
                    count: QUERIES,
                })
            })
            .await
            .map_err(|error| crate::gpu::gpu_error("timestamp queries", error))?;
        let resolve =
            wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let resolved = gpu.buffer("timestamps", BUFFER_BYTES, resolve).await?;
        let read = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = gpu.buffer("timestamps read-back", BUFFER_BYTES, read).await?;
        let period_ns = gpu.queue().get_timestamp_period();
        Ok(Self { set, resolved, staging, period_ns, used_queries: 0, used_bytes: 0 })
    }

    /// Gives all queries out again. Only when no recorded pass waits for one.
    pub(crate) fn restart(&mut self) {
        (self.used_queries, self.used_bytes) = (0, 0);
    }

    /// Whether there are stamps for `pairs` timed passes.
    pub(crate) fn has_room(&self, pairs: usize) -> bool {
        self.used_queries as usize + 2 * pairs <= QUERIES as usize
    }

    /// Stamps for `pairs` timed passes; `None` until the next read-back when the queries are used up.
    pub(crate) fn take(&mut self, pairs: usize) -> Option<Stamps> {
        if !self.has_room(pairs) {
            return None;
        }
        let count = 2 * pairs as u32;
        let stamps =
            Stamps { set: self.set.clone(), first: self.used_queries, count, offset: self.used_bytes };
        self.used_queries += count;
        self.used_bytes += (u64::from(count) * 8).next_multiple_of(ALIGNMENT);
        Some(stamps)
    }

    pub(crate) fn resolve(&self, encoder: &mut wgpu::CommandEncoder, stamps: &Stamps) {
        let range = stamps.first..stamps.first + stamps.count;
        encoder.resolve_query_set(&self.set, range, &self.resolved, stamps.offset);
    }

    /// All values resolved so far, in nanoseconds, by byte offset over 8; zero where a pass has not run yet.
    pub(crate) async fn read(&mut self, gpu: &Gpu) -> Result<Vec<u64>> {
        let bytes = self.used_bytes;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        gpu.submit("timestamps", |encoder| {
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, bytes);
            // What was read is gone, so that a place given out again cannot pass for filled.
            encoder.clear_buffer(&self.resolved, 0, Some(bytes));
            Ok(())
        })
        .await?;
        let ticks: Vec<u64> = read_staging(gpu, &self.staging, bytes).await?;
        if !self.period_ns.is_finite() || self.period_ns <= 0.0 {
            return Err(Error::Gpu {
                operation: "timestamps".into(),
                message: format!("the device gives a period of {} ns", self.period_ns),
            });
        }
        Ok(ticks.into_iter().map(|tick| (tick as f64 * f64::from(self.period_ns)) as u64).collect())
    }
}
