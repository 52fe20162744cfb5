//! A device of our own: an adapter found and opened.

use std::sync::{Arc, Mutex};

use super::wait::lock;
use super::{Capabilities, Failure, Gpu, PipelineCache, gpu_error};
use crate::{Error, Result};

/// How [`Gpu::open`] opens an adapter.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name; empty: the fastest adapter.
    pub adapter: String,
    /// Use no optional shader feature even where the device has it.
    pub baseline: bool,
    /// Use cooperative matrices where the adapter has them. They are experimental in wgpu 30, round what is multiplied to
    /// f16, and have not yet run on a GPU: off unless asked for.
    pub cooperative_matrices: bool,
    /// Compiled pipelines of an earlier start.
    pub pipeline_cache: Option<PipelineCache>,
}

impl Gpu {
    /// The features and limits a host should ask of its adapter, so that a device made with them serves us best.
    /// All are optional: any device with WebGPU's defaults will do.
    pub fn wanted(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
        let useful = wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP
            | wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::PIPELINE_CACHE;
        let most = adapter.limits();
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: most.max_storage_buffer_binding_size,
            max_buffer_size: most.max_buffer_size,
            ..wgpu::Limits::default()
        };
        (adapter.features() & useful, limits)
    }

    /// Opens an adapter of this machine.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], with what to install; [`Error::NoDevice`].
    pub async fn open(options: GpuOptions) -> Result<Self> {
        let adapter = find_adapter(&options.adapter).await?;
        let (mut required_features, required_limits) = Self::wanted(&adapter);
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        let wants_matrices = options.cooperative_matrices && !options.baseline;
        let has_matrices = wants_matrices && Capabilities::of_adapter(&adapter).has_matrices();
        if has_matrices {
            required_features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            // SAFETY: this only acknowledges that wgpu's cooperative matrices may have bugs. What could hit one is
            // matmul_coop alone, which tests hold to the reference and to the bounds of its buffers.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wattle"),
            required_features,
            required_limits,
            experimental_features,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| Error::NoDevice {
            adapter: adapter.get_info().name,
            message: error.to_string(),
        })?;
        let failure = Arc::default();
        report_failures(&device, &failure);
        let mut capabilities = Capabilities::of_device(&device);
        if has_matrices {
            capabilities = capabilities.with_matrices_of(&adapter);
        }
        Ok(Self::new(device, queue, capabilities, options, failure))
    }
}

async fn find_adapter(name: &str) -> Result<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    if !name.is_empty() {
        let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let names: Vec<_> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
        let wanted = name.to_lowercase();
        return adapters
            .into_iter()
            .find(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted))
            .ok_or_else(|| Error::NoAdapter {
                hint: format!("none is called '{name}'; there are: {}", names.join(", ")),
            });
    }
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    instance.request_adapter(&options).await.map_err(|_| Error::NoAdapter {
        hint: "install a graphics driver; for a software one on Debian or Ubuntu: \
               apt-get install mesa-vulkan-drivers libvulkan1"
            .into(),
    })
}

/// Keeps what our own device reports outside of error scopes, where wgpu's default is to panic.
fn report_failures(device: &wgpu::Device, failure: &Arc<Mutex<Failure>>) {
    let uncaptured = failure.clone();
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        lock(&uncaptured).uncaptured.get_or_insert(gpu_error("uncaptured error", error));
    }));
    let lost = failure.clone();
    device.set_device_lost_callback(move |reason, message| {
        lock(&lost).lost = Some(format!("{reason:?}: {message}"));
    });
}

#[cfg(feature = "blocking")]
impl Gpu {
    /// [`Gpu::open`], waited for.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn open_blocking(options: GpuOptions) -> Result<Self> {
        pollster::block_on(Self::open(options))
    }
}
