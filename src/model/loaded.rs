//! A model on a device.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use super::config::ModelConfig;
use super::layout::Layout;
use super::plan::WeightPlan;
use super::source::Source;
use super::weights::{self, Contents, LoadOptions, RandomWeights, StoredWeights};
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
    pub async fn load(gpu: &Gpu, source: &Source, options: LoadOptions<'_>) -> Result<Self> {
        let mut contents = StoredWeights::new(source, !options.allow_not_finite);
        Self::fill(gpu, &source.config, &mut contents, options).await
    }

    /// A model of any description without a checkpoint: every weight is a function of `seed`, of the name of its
    /// tensor and of its place there, and the same on every device. For measuring: it costs what a trained model of
    /// its shape costs, and says nothing.
    ///
    /// Stored words are filled with random bits, scaled so that activations stay finite and of order 1 through any
    /// number of layers. Nothing is quantized; so the same seed in another format is another model.
    ///
    /// # Errors
    /// [`crate::Error::Config`]; [`crate::Error::Memory`] beyond the device's limits or its memory.
    pub async fn random(gpu: &Gpu, config: &ModelConfig, plan: WeightPlan, seed: u64) -> Result<Self> {
        Self::fill(gpu, config, &mut RandomWeights::new(seed), LoadOptions::new(plan)).await
    }

    async fn fill(
        gpu: &Gpu,
        config: &ModelConfig,
        contents: &mut impl Contents,
        mut options: LoadOptions<'_>,
    ) -> Result<Self> {
        let begin = Instant::now();
        config.validate()?;
        let layout = Layout::new(config, &options.plan, gpu.capabilities())?;
        let tensors = weights::load(gpu, &config.name, &layout, contents, &mut options).await?;
        let (gpu, config, load_time) = (gpu.clone(), config.clone(), begin.elapsed());
        Ok(Self { shared: Arc::new(Shared { gpu, config, layout, tensors, load_time }) })
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
