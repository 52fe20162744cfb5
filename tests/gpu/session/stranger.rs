//! A host that brings its own device, and minds what is done with it.

use std::sync::{Arc, Mutex};

use pollster::block_on;
use wattle::wgpu::{self, Features, Limits};
use wattle::{Gpu, GpuOptions};

/// A device made without us. What reaches its handler of uncaptured errors is on record, and fails the test.
pub struct Stranger {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    uncaptured: Arc<Mutex<Vec<String>>>,
}

/// An adapter of this machine, found as a host would find it.
fn adapter() -> wgpu::Adapter {
    let wanted = std::env::var("WATTLE_ADAPTER").unwrap_or_default().to_lowercase();
    let instance = wgpu::Instance::default();
    let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let is_wanted = |adapter: &wgpu::Adapter| adapter.get_info().name.to_lowercase().contains(&wanted);
    adapters.into_iter().find(is_wanted).unwrap_or_else(|| panic!("these tests run on a GPU"))
}

impl Stranger {
    /// A device with these features, but for experimental ones, and limits.
    pub fn open(features: Features, required_limits: Limits) -> Self {
        let required_features = features - Features::all_experimental_mask();
        let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
        let (device, queue) = block_on(adapter().request_device(&descriptor)).unwrap();
        let uncaptured = Arc::new(Mutex::new(Vec::new()));
        let seen = uncaptured.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            seen.lock().unwrap().push(error.to_string());
        }));
        Self { device, queue, uncaptured }
    }

    /// WebGPU's defaults and no feature.
    pub fn plain() -> Self {
        Self::open(Features::empty(), Limits::default())
    }

    /// What we ask a host for.
    pub fn obliging() -> Self {
        let (features, limits) = Gpu::wanted(&adapter());
        Self::open(features, limits)
    }

    pub fn gpu(&self) -> Gpu {
        Gpu::from_device(&self.device, &self.queue)
    }

    /// Asserts that the host has heard of nothing.
    #[track_caller]
    pub fn assert_undisturbed(&self) {
        let seen = self.uncaptured.lock().unwrap();
        assert!(seen.is_empty(), "uncaptured: {seen:?}");
    }
}

#[test]
fn an_adapter_that_is_not_there_is_an_error() {
    let options = GpuOptions { adapter: "no such adapter".into(), ..GpuOptions::default() };
    let error = block_on(Gpu::open(options)).err().unwrap();
    assert!(matches!(error, wattle::Error::NoAdapter { .. }), "{error}");
    assert!(error.to_string().contains("'no such adapter'; there are: "), "{error}");
}

#[test]
fn a_device_without_features_is_used_without_them() {
    let plain = Stranger::plain().gpu();
    let can = plain.capabilities();
    assert!(!can.f16 && !can.subgroups && !can.timestamps, "{can:?}");
    let is_cpu = can.is_cpu;
    assert_eq!(can, &wattle::gpu::Capabilities { is_cpu, ..wattle::gpu::Capabilities::webgpu() });
    assert!(plain.pipeline_cache().is_none());
    let obliging = Stranger::obliging().gpu();
    assert!(obliging.capabilities().max_binding_bytes >= can.max_binding_bytes);
}
