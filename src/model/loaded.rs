//! A model on a device.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use super::config::ModelConfig;
use super::layout::Layout;
use super::source::Source;
use super::weights::{self, LoadOptions};
use crate::Result;
use crate::gpu::Gpu;
use crate::tensor::Tensor;

/// A model whose weights are on a device. Cloning shares them.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
}

struct Shared {
    gpu: Gpu,
    config: ModelConfig,
    layout: Layout,
    tensors: HashMap<String, Tensor>,
    load_time: Duration,
}

impl Model {
    /// Uploads a checkpoint, quantizing as the plan says.
    ///
    /// # Errors
    /// [`crate::Error::Config`]; [`crate::Error::Memory`] beyond the ceiling or the device's limits, before anything
    /// is allocated; those of reading; [`crate::Error::NotFinite`]; [`crate::Error::Cancelled`].
    pub async fn load(gpu: &Gpu, source: &Source, mut options: LoadOptions<'_>) -> Result<Self> {
        let begin = Instant::now();
        source.config.validate()?;
        let layout = Layout::new(&source.config, &options.plan, gpu.capabilities())?;
        let tensors = weights::load(gpu, source, &layout, &mut options).await?;
        let config = source.config.clone();
        let load_time = begin.elapsed();
        Ok(Self { shared: Arc::new(Shared { gpu: gpu.clone(), config, layout, tensors, load_time }) })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.shared.gpu
    }

    /// The description.
    pub fn config(&self) -> &ModelConfig {
        &self.shared.config
    }

    /// The weights as laid out.
    pub fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    /// A weight by its name in the layout.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.shared.tensors.get(name)
    }

    /// How long loading took.
    pub fn load_time(&self) -> Duration {
        self.shared.load_time
    }
}
