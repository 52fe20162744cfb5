//! A model on a device.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use super::config::ModelConfig;
use super::layout::{Layout, Matrix};
use super::plan::WeightPlan;
use super::source::Source;
use super::weights::{
    self, Contents, LoadOptions, RandomWeights, StoredWeights, gather, parent_of, slice, slice_of,
};
use crate::gpu::Gpu;
use crate::quant::WeightFormat;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// A model whose weights are on a device. Cloning shares them.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
}

struct Shared {
    gpu: Gpu,
    config: ModelConfig,
    layout: Layout,
    tensors: Arc<HashMap<String, Tensor>>,
    load_time: Duration,
}

impl Model {
    /// Uploads a checkpoint, quantizing as the plan says, and as OmniQuant has learned to where the checkpoint has `gamma`,
    /// `beta`, `delta` or `s` beside a weight (arXiv 2308.13137; [`Part`](super::slot::Part)).
    ///
    /// # Errors
    /// [`crate::Error::Config`]; [`crate::Error::Memory`] beyond the ceiling or the device's limits, before anything
    /// is allocated; those of [`Source::layout`] and of reading; [`crate::Error::NotFinite`]; [`crate::Error::Cancelled`].
    pub async fn load(gpu: &Gpu, source: &Source, options: LoadOptions<'_>) -> Result<Self> {
        let mut contents = StoredWeights::new(source, !options.allow_not_finite);
        let layout = source.layout(&options.plan, gpu.capabilities())?;
        Self::fill(gpu, &source.config, layout, &mut contents, options).await
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
        config.validate()?;
        let layout = Layout::new(config, &plan, gpu.capabilities())?;
        Self::fill(gpu, config, layout, &mut RandomWeights::new(seed), LoadOptions::new(plan)).await
    }

    async fn fill(
        gpu: &Gpu,
        config: &ModelConfig,
        layout: Layout,
        contents: &mut impl Contents,
        mut options: LoadOptions<'_>,
    ) -> Result<Self> {
        let begin = Instant::now();
        let tensors = weights::load(gpu, &config.name, &layout, contents, &mut options).await?;
        let (gpu, config, load_time) = (gpu.clone(), config.clone(), begin.elapsed());
        let tensors = Arc::new(tensors);
        Ok(Self { shared: Arc::new(Shared { gpu, config, layout, tensors, load_time }) })
    }

    /// The same weights, read at other widths: nothing is loaded or copied. Codes stored as
    /// [`Storage::Planes`](crate::quant::Storage::Planes) or [`Storage::Parent`](crate::quant::Storage::Parent), and
    /// `int8`, which is the parent, can be read at any width; other formats stay as they are.
    ///
    /// # Errors
    /// [`Error::Request`] where the plan wants a matrix stored otherwise; those of [`Layout::new`].
    pub fn served_at(&self, plan: &WeightPlan) -> Result<Self> {
        let Shared { gpu, config, layout: stored, tensors, load_time } = self.shared.as_ref();
        let layout = Layout::new(config, plan, gpu.capabilities())?.with_transforms_of(stored);
        for matrix in layout.matrices() {
            stored_as(stored, matrix, matrix.format)?;
        }
        let (gpu, config) = (gpu.clone(), config.clone());
        let shared = Shared { gpu, config, layout, tensors: tensors.clone(), load_time: *load_time };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The same weights as slices of their widths in memory of their own, made on the device: a step reads the fewest
    /// bytes, and this model may be dropped. Codes must be stored as `int8` or
    /// [`Storage::Parent`](crate::quant::Storage::Parent); matrices that the plan does not slice are shared.
    ///
    /// # Errors
    /// [`Error::Request`] where the plan wants a matrix that cannot be made from what is stored; [`Error::Memory`];
    /// those of [`Layout::new`].
    pub async fn sliced(&self, plan: &WeightPlan) -> Result<Self> {
        let begin = Instant::now();
        let Shared { gpu, config, layout: stored, tensors, .. } = self.shared.as_ref();
        let layout = Layout::new(config, plan, gpu.capabilities())?;
        let layout = layout.with_shards_of(stored).with_transforms_of(stored);
        let mut sliced = HashMap::new();
        for matrix in layout.matrices() {
            if let Some(parent) = stored_among(stored, matrix) {
                sliced.extend(gather(gpu, matrix, parent, tensors).await?);
                continue;
            }
            let parent = stored_as(stored, matrix, parent_of(matrix.format))?;
            for (n, shard) in matrix.shards.iter().enumerate() {
                for name in matrix.shard_names(n) {
                    sliced.extend(tensors.get(&name).map(|tensor| (name, tensor.clone())));
                }
                let Some(of) = slice_of(matrix.format) else { continue };
                let [words, ..] = parent.shard_names(n);
                let (Some(codes), [bytes, ..]) = (tensors.get(&words), matrix.shard_bytes(shard)) else {
                    return Err(Error::MissingTensor { name: words });
                };
                let rows = shard.end - shard.start;
                let tensor = Tensor::zeroed(gpu, &words, bytes).await?;
                slice(gpu, (of, matrix), rows, codes, (&tensor, 0)).await?;
                sliced.insert(words, tensor);
            }
        }
        let vectors = layout.vectors().filter_map(|vectors| tensors.get_key_value(&vectors.name));
        sliced.extend(vectors.map(|(name, tensor)| (name.clone(), tensor.clone())));
        let (gpu, config, tensors) = (gpu.clone(), config.clone(), Arc::new(sliced));
        Ok(Self { shared: Arc::new(Shared { gpu, config, layout, tensors, load_time: begin.elapsed() }) })
    }

    /// Whether both are one model, at the same widths.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
            || (self.shares_weights(other) && self.layout() == other.layout())
    }

    /// Whether both read the same tensors.
    pub(super) fn shares_weights(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared.tensors, &other.shared.tensors)
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

/// The stored matrix with more experts that these can be gathered from.
fn stored_among<'a>(stored: &'a Layout, matrix: &Matrix) -> Option<&'a Matrix> {
    let parent = stored.matrices().find(|stored| matrix.is_of(stored))?;
    let has_all = matrix.experts.iter().all(|expert| parent.experts.contains(expert));
    let is_part = has_all && parent.experts != matrix.experts;
    (is_part && parent.format.can_serve(parent_of(matrix.format))).then_some(parent)
}

/// The stored matrix of that name, which must be readable as `format`.
fn stored_as<'a>(stored: &'a Layout, matrix: &Matrix, format: WeightFormat) -> Result<&'a Matrix> {
    let same = stored.matrices().find(|stored| matrix.is_of(stored));
    let fitting = same.filter(|stored| {
        (&stored.experts, &stored.shards) == (&matrix.experts, &matrix.shards)
            && stored.format.can_serve(format)
    });
    fitting.ok_or_else(|| {
        let stored = match same {
            None => "nothing of its own".to_owned(),
            Some(stored) if stored.format.can_serve(format) && stored.experts != matrix.experts => {
                format!("{} of other experts", stored.format)
            }
            Some(stored) => stored.format.to_string(),
        };
        let (name, wanted) = (&matrix.name, matrix.format);
        Error::Request(format!("'{name}' is stored as {stored}, which cannot be read as {wanted}"))
    })
}
