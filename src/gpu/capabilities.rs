//! What a device can do.

use crate::fragments::MatrixSize;
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
    /// Cooperative matrices of 8 by 8 with operands in f16 and sums in f32.
    pub matrices_8: bool,
    /// The same of 16 by 16.
    pub matrices_16: bool,
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
    /// What features and limits allow. They do not tell the sizes of cooperative matrices: there are none.
    pub fn of(features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        Self {
            is_cpu: false,
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            matrices_8: false,
            matrices_16: false,
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

    /// What an adapter's devices can do, given all of its features.
    pub(super) fn of_adapter(adapter: &wgpu::Adapter) -> Self {
        Self::of(adapter.features(), &adapter.limits()).with_matrices_of(adapter)
    }

    /// The same with the cooperative matrices that the adapter reports, which a device does not.
    pub(super) fn with_matrices_of(mut self, adapter: &wgpu::Adapter) -> Self {
        use wgpu::CooperativeScalarType::{F16, F32};
        let reported = adapter.cooperative_matrix_properties();
        let has = |side| {
            let sizes = |m: &wgpu::CooperativeMatrixProperties| [m.m_size, m.n_size, m.k_size];
            reported.iter().any(|m| sizes(m) == [side; 3] && m.ab_type == F16 && m.cr_type == F32)
        };
        let info = adapter.get_info();
        let widest = info.subgroup_max_size;
        // Mesa's software driver has them for subgroups of 8 lanes. With 4 it reports sizes and refuses the feature, with
        // 16 its compiler crashes (26.1).
        let works = info.device_type != wgpu::DeviceType::Cpu || widest == 8;
        let is_there = adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        let is_usable = is_there && works && self.f16 && self.subgroups;
        let is_there = |size: MatrixSize| is_usable && widest <= size.widest_subgroup() && has(size.side());
        self.matrices_8 = is_there(MatrixSize::Eight);
        self.matrices_16 = is_there(MatrixSize::Sixteen);
        self
    }

    /// Whether there are cooperative matrices of any size.
    pub fn has_matrices(&self) -> bool {
        self.matrices_8 || self.matrices_16
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
        self.matrices_8 = false;
        self.matrices_16 = false;
        self
    }

    /// Bytes of the largest tensor: one buffer, one binding.
    pub fn max_tensor_bytes(&self) -> u64 {
        self.max_binding_bytes.min(self.max_buffer_bytes)
    }

    /// Whether a shader with these needs runs.
    pub fn has(&self, needs: Needs) -> bool {
        (self.f16 || !needs.f16)
            && (self.subgroups || !needs.subgroups)
            && (self.matrices_8 || !needs.matrices_8)
            && (self.matrices_16 || !needs.matrices_16)
    }
}
