//! Kernel variants compiled for a device.

use std::sync::Arc;

use super::Gpu;
use super::scope::scoped_now;
use super::wait::lock;
use crate::kernel::{AnyLaunch, Binding, BindingKind};
use crate::shader::Source;
use crate::{Error, Result};

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

/// The driver's own cache of compiled pipelines, where the device has one; it is an extra, so a device that gives
/// none works without.
pub(super) fn driver_cache(
    device: &wgpu::Device,
    earlier: Option<&PipelineCache>,
) -> Option<wgpu::PipelineCache> {
    if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
        return None;
    }
    let descriptor = wgpu::PipelineCacheDescriptor {
        label: Some("wattle"),
        data: earlier.map(PipelineCache::bytes),
        fallback: true,
    };
    // SAFETY: the maker of a `PipelineCache` vouches for its bytes; wgpu checks their header against adapter and
    // driver and, with `fallback`, starts empty where they differ.
    scoped_now(device, |device| unsafe { device.create_pipeline_cache(&descriptor) }).ok()
}

/// A compiled kernel variant.
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// The compiled pipelines for the next start; `None` where the device keeps none.
    pub fn pipeline_cache(&self) -> Option<PipelineCache> {
        self.shared.cache.as_ref()?.get_data().map(PipelineCache)
    }

    /// The kernel variants built so far, in the order of their names.
    pub fn pipelines(&self) -> Vec<String> {
        let mut names: Vec<_> = lock(&self.shared.pipelines).keys().map(Source::to_string).collect();
        names.sort();
        names
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
}

fn layout_entry(binding: &Binding) -> wgpu::BindGroupLayoutEntry {
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
