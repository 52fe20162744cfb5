//! What a device can do.

use crate::shader::Needs;

/// What a device can do, as far as kernels care. Plain data, so that schedules can be planned without a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    /// Whether a CPU plays the GPU.
    pub is_cpu: bool,
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
    /// Alignment of a storage binding's offset into its buffer, in bytes.
    pub binding_alignment: u64,
    /// Alignment of a uniform's offset into its buffer, in bytes.
    pub uniform_alignment: u64,
}

impl Capabilities {
    /// What features and limits allow.
    pub fn of(features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        Self {
            is_cpu: false,
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            binding_alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            uniform_alignment: u64::from(limits.min_uniform_buffer_offset_alignment),
        }
    }

    /// What a device can do.
    pub(super) fn of_device(device: &wgpu::Device) -> Self {
        let is_cpu = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        Self { is_cpu, ..Self::of(device.features(), &device.limits()) }
    }

    /// The least that WebGPU promises: no optional feature, default limits.
    pub fn webgpu() -> Self {
        Self::of(wgpu::Features::empty(), &wgpu::Limits::default())
    }

    /// The same without limits of size, for counting.
    #[cfg(feature = "model")]
    pub(crate) fn unlimited() -> Self {
        Self { max_binding_bytes: u64::MAX, max_buffer_bytes: u64::MAX, ..Self::webgpu() }
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
