//! The device: opened here or adopted from a host, with what it can do and the pipelines built on it.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::kernel::{AnyLaunch, BindingKind};
use crate::shader::{Needs, Source};
use crate::{Error, Result};

/// What a device can do, as far as kernels care. Plain data, so that schedules can be planned without a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Timestamps at pass boundaries.
    pub timestamps: bool,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Alignment of a binding's offset into its buffer, in bytes.
    pub binding_alignment: u64,
}

impl Capabilities {
    /// What features and limits allow.
    pub fn of(features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        Self {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            binding_alignment: u64::from(limits.min_storage_buffer_offset_alignment),
        }
    }

    /// The least that WebGPU promises: no optional feature, default limits.
    pub fn webgpu() -> Self {
        Self::of(wgpu::Features::empty(), &wgpu::Limits::default())
    }

    /// The same device without the features that shaders may use.
    #[must_use]
    pub fn baseline(mut self) -> Self {
        self.f16 = false;
        self.subgroups = false;
        self
    }

    /// Bytes of the largest tensor: one buffer, one binding.
    pub fn max_tensor_bytes(&self) -> u64 {
        self.max_binding_bytes.min(self.max_buffer_bytes)
    }

    /// Whether a shader with these needs runs.
    pub fn has(&self, needs: Needs) -> bool {
        (self.f16 || !needs.f16) && (self.subgroups || !needs.subgroups)
    }
}

/// How [`Gpu::open`] opens an adapter.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Part of the adapter's name; empty: the fastest adapter.
    pub adapter: String,
    /// Use no optional shader feature even where the device has it.
    pub baseline: bool,
    /// Compiled pipelines of an earlier start.
    pub pipeline_cache: Option<PipelineCache>,
}

/// Compiled pipelines as bytes, for the next start on the same adapter and driver; others ignore them.
#[derive(Clone, Debug)]
pub struct PipelineCache(Vec<u8>);

impl PipelineCache {
    /// Bytes that were written before.
    ///
    /// # Safety
    /// They come from [`PipelineCache::bytes`] and nobody has changed them: drivers run what is in them.
    pub unsafe fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to write.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

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

/// What an error scope caught, once the device says so.
type PoppedScope = Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;

/// A compiled kernel variant.
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
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
            max_storage_buffers_per_shader_stage: most.max_storage_buffers_per_shader_stage.min(16),
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
        let (required_features, required_limits) = Self::wanted(&adapter);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wattle"),
            required_features,
            required_limits,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| Error::NoDevice {
            adapter: adapter.get_info().name,
            message: error.to_string(),
        })?;
        let failure = Arc::default();
        report_failures(&device, &failure);
        Ok(Self::new(device, queue, options, failure))
    }

    /// Adopts a host's device. The host keeps it, its error handlers and its callbacks: nothing of them is touched.
    pub fn from_device(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::new(device.clone(), queue.clone(), GpuOptions::default(), Arc::default())
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: GpuOptions,
        failure: Arc<Mutex<Failure>>,
    ) -> Self {
        let mut capabilities = Capabilities::of(device.features(), &device.limits());
        if options.baseline {
            capabilities = capabilities.baseline();
        }
        let cache = device.features().contains(wgpu::Features::PIPELINE_CACHE).then(|| {
            let descriptor = wgpu::PipelineCacheDescriptor {
                label: Some("wattle"),
                data: options.pipeline_cache.as_ref().map(PipelineCache::bytes),
                fallback: true,
            };
            // SAFETY: the maker of a `PipelineCache` vouches for its bytes; wgpu checks their header against adapter
            // and driver and, with `fallback`, starts empty where they differ.
            unsafe { device.create_pipeline_cache(&descriptor) }
        });
        let info = device.adapter_info();
        let shared = Shared { device, queue, info, cache, pipelines: Mutex::default(), failure };
        Self { shared: Arc::new(shared), capabilities: Arc::new(capabilities) }
    }

    /// The same device with, or without, optional shader features.
    #[must_use]
    pub fn with_baseline(&self, baseline: bool) -> Self {
        let device = self.device();
        let all = Capabilities::of(device.features(), &device.limits());
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

    /// The compiled pipelines for the next start; `None` where the device keeps none.
    pub fn pipeline_cache(&self) -> Option<PipelineCache> {
        self.shared.cache.as_ref()?.get_data().map(PipelineCache)
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
        let probe = self.scoped_now(|device| device.create_buffer(&descriptor));
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

    /// The pipeline of a kernel variant, built at its first use.
    pub(crate) async fn pipeline(&self, launch: &dyn AnyLaunch) -> Result<Arc<Pipeline>> {
        let source = launch.source();
        // Asked first: a device with more features may share these pipelines.
        if !self.capabilities.has(source.needs()) {
            return Err(Error::Shader {
                kernel: source.to_string(),
                message: format!("the device lacks a feature it needs: {:?}", source.needs()),
            });
        }
        if let Some(pipeline) = lock(&self.shared.pipelines).get(&source) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.build(launch, &source).await?);
        lock(&self.shared.pipelines).insert(source, pipeline.clone());
        Ok(pipeline)
    }

    /// Compiles a kernel variant and drops it: whether it would run, for tests and for warming a cache.
    ///
    /// # Errors
    /// [`Error::Shader`].
    pub async fn build_only(&self, launch: &dyn AnyLaunch) -> Result<()> {
        self.build(launch, &launch.source()).await.map(|_| ())
    }

    async fn build(&self, launch: &dyn AnyLaunch, source: &Source) -> Result<Pipeline> {
        let entries: Vec<_> = launch.bindings().iter().map(layout_entry).collect();
        let built = self.scoped(|device| {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(source.name()),
                entries: &entries,
            });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(source.name()),
                bind_group_layouts: &[Some(&layout)],
                ..Default::default()
            });
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(source.name()),
                source: wgpu::ShaderSource::Wgsl(source.text().into()),
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(source.name()),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                // Kernels write workgroup memory before they read it.
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: self.shared.cache.as_ref(),
            });
            Pipeline { pipeline, layout }
        });
        let fail =
            |error: wgpu::Error| Error::Shader { kernel: source.to_string(), message: error.to_string() };
        let built = built.await.map_err(fail)?;
        self.check()?;
        Ok(built)
    }

    /// Runs `make` so that what it does wrong comes back from it and reaches no handler of the host.
    pub(crate) async fn scoped<T>(&self, make: impl FnOnce(&wgpu::Device) -> T) -> Result<T, wgpu::Error> {
        let (made, pending) = self.in_scopes(make);
        for error in pending {
            if let Some(error) = error.await {
                return Err(error);
            }
        }
        Ok(made)
    }

    /// [`Gpu::scoped`] where nothing can be awaited. Native devices answer at once; a browser answers later, and what
    /// went wrong then shows at the submit.
    pub(crate) fn scoped_now<T>(&self, make: impl FnOnce(&wgpu::Device) -> T) -> Result<T, wgpu::Error> {
        let (made, pending) = self.in_scopes(make);
        let mut context = Context::from_waker(Waker::noop());
        for mut error in pending {
            if let Poll::Ready(Some(error)) = error.as_mut().poll(&mut context) {
                return Err(error);
            }
        }
        Ok(made)
    }

    fn in_scopes<T>(&self, make: impl FnOnce(&wgpu::Device) -> T) -> (T, Vec<PoppedScope>) {
        let device = self.device();
        let scopes =
            [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal]
                .map(|filter| device.push_error_scope(filter));
        let made = make(device);
        // Scopes nest, so the last one pushed is the first one popped.
        let mut pending: Vec<PoppedScope> = Vec::new();
        for scope in scopes.into_iter().rev() {
            pending.push(Box::pin(scope.pop()));
        }
        (made, pending)
    }

    /// Submits what `record` records, and returns what it did wrong instead of panicking.
    ///
    /// # Errors
    /// The error of `record`, [`Error::Gpu`], or [`Error::DeviceLost`].
    pub async fn submit(
        &self,
        label: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<()> {
        let recorded = self.scoped(|device| {
            let mut encoder =
                device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) });
            record(&mut encoder)?;
            self.queue().submit([encoder.finish()]);
            Ok(())
        });
        recorded.await.map_err(|error| gpu_error(label, error))??;
        self.check()
    }
}

/// An error of the API as ours.
pub(crate) fn gpu_error(operation: impl Display, error: wgpu::Error) -> Error {
    Error::Gpu { operation: operation.to_string(), message: error.to_string() }
}

/// A lock whose holder panicked still guards usable data: every write under it is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout_entry(binding: &crate::kernel::Binding) -> wgpu::BindGroupLayoutEntry {
    let ty = match binding.kind {
        BindingKind::Params | BindingKind::Span => wgpu::BufferBindingType::Uniform,
        BindingKind::Read => wgpu::BufferBindingType::Storage { read_only: true },
        BindingKind::Write => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding: binding.index,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
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
