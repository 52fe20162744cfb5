//! The device: opened here or adopted from a host, with what it can do and the pipelines built on it.

mod capabilities;
mod open;
mod pipeline;
mod scope;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub use capabilities::Capabilities;
pub use open::GpuOptions;
pub(crate) use pipeline::Pipeline;
pub use pipeline::PipelineCache;
pub(crate) use scope::{gpu_error, scoped_now};
pub(crate) use wait::Signal;

use wait::lock;

use crate::shader::Source;
use crate::{Error, Result};

/// A device and its queue, shared with whoever else uses them. Cloning is cheap.
#[derive(Clone)]
pub struct Gpu {
    shared: Arc<Shared>,
    capabilities: Arc<Capabilities>,
}

struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    /// All that the device can do.
    capabilities: Capabilities,
    cache: Option<wgpu::PipelineCache>,
    pipelines: Mutex<HashMap<Source, Arc<Pipeline>>>,
    failure: Arc<Mutex<Failure>>,
}

/// What a device reported outside of any call of ours.
#[derive(Default)]
struct Failure {
    lost: Option<String>,
    uncaptured: Option<Error>,
}

impl Gpu {
    /// Adopts a host's device. The host keeps it, its error handlers and its callbacks: nothing of them is touched.
    /// Cooperative matrices, experimental in wgpu, are left alone.
    pub fn from_device(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let capabilities = Capabilities::of_device(device);
        Self::new(device.clone(), queue.clone(), capabilities, GpuOptions::default(), Arc::default())
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        capabilities: Capabilities,
        options: GpuOptions,
        failure: Arc<Mutex<Failure>>,
    ) -> Self {
        let info = device.adapter_info();
        let cache = pipeline::driver_cache(&device, options.pipeline_cache.as_ref());
        let pipelines = Mutex::default();
        let shared = Arc::new(Shared { device, queue, info, capabilities, cache, pipelines, failure });
        let all = Self { capabilities: Arc::new(shared.capabilities.clone()), shared };
        all.with_baseline(options.baseline)
    }

    /// The same device with, or without, optional shader features.
    #[must_use]
    pub fn with_baseline(&self, baseline: bool) -> Self {
        let all = self.shared.capabilities.clone();
        let capabilities = if baseline { all.baseline() } else { all };
        Self { shared: self.shared.clone(), capabilities: Arc::new(capabilities) }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// Its queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// Name, driver and backend.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.shared.info
    }

    /// What kernels may use.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the device is still there, and what it reported outside of any call of ours.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], at every call from the loss on; [`Error::Gpu`], once, for anything else.
    pub fn check(&self) -> Result<()> {
        let is_lost = self.is_lost();
        let mut failure = lock(&self.shared.failure);
        if is_lost && failure.lost.is_none() {
            failure.lost = Some("it hands out no memory any more".into());
        }
        match &failure.lost {
            Some(message) => Err(Error::DeviceLost { message: message.clone() }),
            None => failure.uncaptured.take().map_or(Ok(()), Err),
        }
    }

    /// Asks the device for mapped memory. A lost one reports nothing to error scopes, and the only callback for a
    /// loss is the host's; but what it maps cannot be reached.
    fn is_lost(&self) -> bool {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("probe"),
            size: 4,
            usage: wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        };
        let probe = scoped_now(self.device(), |device| device.create_buffer(&descriptor));
        probe.is_ok_and(|probe| probe.slice(..).get_mapped_range_mut().is_err())
    }

    /// A buffer of at least 4 bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] when it is larger than the device allows or memory is short; [`Error::Gpu`] for a usage
    /// that does not exist; [`Error::DeviceLost`].
    pub async fn buffer(&self, name: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        // Only what shaders read as an array is bound as a whole.
        let limit = match usage.contains(wgpu::BufferUsages::STORAGE) {
            true => self.capabilities.max_tensor_bytes(),
            false => self.capabilities.max_buffer_bytes,
        };
        if bytes > limit {
            return Err(Error::Memory { what: name.into(), needed_bytes: bytes, available_bytes: limit });
        }
        let size = bytes.max(4).next_multiple_of(4);
        let descriptor = wgpu::BufferDescriptor { label: Some(name), size, usage, mapped_at_creation: false };
        let buffer =
            self.scoped(|device| device.create_buffer(&descriptor)).await.map_err(|error| match error {
                wgpu::Error::OutOfMemory { .. } => {
                    Error::Memory { what: name.into(), needed_bytes: bytes, available_bytes: 0 }
                }
                other => gpu_error(format!("buffer '{name}'"), other),
            })?;
        self.check()?;
        Ok(buffer)
    }
}
