//! Weights into device memory: fused, packed and uploaded a few megabytes at a time, wherever they come from.

mod gather;
mod learned;
mod random;
mod slices;
mod stored;

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

pub(super) use gather::gather;
pub(super) use random::RandomWeights;
pub(super) use slices::{parent_of, slice, slice_of};
pub(super) use stored::StoredWeights;

use super::layout::{Layout, Matrix, Vectors};
use super::plan::WeightPlan;
use crate::gpu::{Gpu, gpu_error};
use crate::quant::PackedMatrix;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// How far loading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes in device memory so far.
    pub done_bytes: u64,
    /// Bytes there will be.
    pub total_bytes: u64,
}

/// How a model is loaded.
pub struct LoadOptions<'a> {
    /// Which weights are stored in which format.
    pub plan: WeightPlan,
    /// Most bytes that weights may take on the device.
    pub memory_ceiling: Option<u64>,
    /// Whether NaN and infinite weights are accepted where they are stored as f32. Other formats cannot hold them.
    pub allow_not_finite: bool,
    /// Told after every few megabytes; breaking cancels.
    pub progress: Option<&'a mut dyn FnMut(Progress) -> ControlFlow<()>>,
}

impl LoadOptions<'_> {
    /// A plan, and nothing special.
    pub fn new(plan: WeightPlan) -> Self {
        Self { plan, memory_ceiling: None, allow_not_finite: false, progress: None }
    }
}

/// Where the weights of a layout come from.
pub(super) trait Contents {
    /// Rows of a matrix, counted through all experts, as they are stored, or as the parent that is sliced on the device.
    fn rows(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<PackedMatrix>;

    /// The biases of rows of a matrix, counted alike, with what the shift of transformed inputs leaves behind.
    fn biases(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<Vec<f32>>;

    /// The vectors of a norm or of a transformation as kernels read them: scales, ready to multiply with, then shifts
    /// where there are any; other numbers as they are.
    fn vectors(&mut self, vectors: &Vectors) -> Result<Vec<f32>>;
}

/// Elements that are unpacked, quantized and uploaded at a time.
const PIECE: usize = 1 << 20;

/// Uploads every tensor of the layout of a model called `model`; returns them by name.
pub(super) async fn load(
    gpu: &Gpu,
    model: &str,
    layout: &Layout,
    contents: &mut impl Contents,
    options: &mut LoadOptions<'_>,
) -> Result<HashMap<String, Tensor>> {
    let total_bytes = layout.bytes();
    if let Some(ceiling) = options.memory_ceiling.filter(|ceiling| total_bytes > *ceiling) {
        return Err(Error::Memory {
            what: format!("the weights of '{model}'"),
            needed_bytes: total_bytes,
            available_bytes: ceiling,
        });
    }
    let mut loader = Loader { gpu, model, options, total_bytes, done_bytes: 0, tensors: HashMap::new() };
    for matrix in layout.matrices() {
        loader.matrix(matrix, contents).await?;
    }
    for vectors in layout.vectors() {
        loader.upload(vectors.name.clone(), &contents.vectors(vectors)?).await?;
    }
    Ok(loader.tensors)
}

struct Loader<'a, 'o> {
    gpu: &'a Gpu,
    model: &'a str,
    options: &'a mut LoadOptions<'o>,
    total_bytes: u64,
    done_bytes: u64,
    tensors: HashMap<String, Tensor>,
}

impl Loader<'_, '_> {
    async fn matrix(&mut self, matrix: &Matrix, contents: &mut impl Contents) -> Result<()> {
        for (n, shard) in matrix.shards.iter().enumerate() {
            let [words_name, scales_name, bias_name] = matrix.shard_names(n);
            let [words_bytes, scales_bytes, bias_bytes] = matrix.shard_bytes(shard);
            let words = Tensor::zeroed(self.gpu, &words_name, words_bytes).await?;
            let scales = match scales_bytes {
                0 => None,
                bytes => Some(Tensor::zeroed(self.gpu, &scales_name, bytes).await?),
            };
            let [word_row_bytes, scale_row_bytes] = matrix.row_bytes();
            let mut uploaded = 0;
            for rows in pieces(matrix, shard.clone()) {
                let packed = contents.rows(matrix, rows)?;
                match slice_of(matrix.format).filter(|_| packed.format != matrix.format) {
                    Some(of) => {
                        let parent = Tensor::upload(self.gpu, "parent", &packed.words).await?;
                        let sliced = (&words, uploaded as u32);
                        slice(self.gpu, (of, matrix), packed.rows as u32, &parent, sliced).await?;
                    }
                    None => self.write(&words, uploaded * word_row_bytes, &packed.words).await?,
                }
                self.advance(packed.rows as u64 * word_row_bytes)?;
                if let Some(scales) = &scales {
                    self.write(scales, uploaded * scale_row_bytes, &packed.scales).await?;
                    self.advance(packed.rows as u64 * scale_row_bytes)?;
                }
                uploaded += packed.rows as u64;
            }
            self.tensors.insert(words_name, words);
            if let Some(scales) = scales {
                self.tensors.insert(scales_name, scales);
            }
            if bias_bytes > 0 {
                self.upload(bias_name, &contents.biases(matrix, shard.clone())?).await?;
            }
        }
        Ok(())
    }

    async fn upload(&mut self, name: String, data: &[f32]) -> Result<()> {
        let tensor = Tensor::zeroed(self.gpu, &name, size_of_val(data) as u64).await?;
        self.write(&tensor, 0, data).await?;
        self.advance(size_of_val(data) as u64)?;
        self.tensors.insert(name, tensor);
        Ok(())
    }

    async fn write<T: bytemuck::NoUninit>(&self, tensor: &Tensor, offset: u64, data: &[T]) -> Result<()> {
        let bytes = bytemuck::cast_slice(data);
        let queue = self.gpu.queue();
        // The empty submit lets the queue free its staging memory before the next piece.
        let written = self.gpu.scoped(|_| {
            queue.write_buffer(tensor.buffer(), tensor.offset() + offset, bytes);
            queue.submit([]);
        });
        written.await.map_err(|error| gpu_error("upload of weights", error))?;
        self.gpu.check()
    }

    /// Tells how far loading has come.
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done_bytes += bytes;
        let progress = Progress { done_bytes: self.done_bytes, total_bytes: self.total_bytes };
        match self.options.progress.as_mut().map(|report| report(progress)) {
            Some(ControlFlow::Break(())) => Err(Error::Cancelled(format!("loading '{}'", self.model))),
            _ => Ok(()),
        }
    }
}

/// Row ranges that make pieces of about [`PIECE`] elements.
fn pieces(matrix: &Matrix, rows: Range<u32>) -> impl Iterator<Item = Range<u32>> {
    let step = (PIECE / matrix.cols.max(1) as usize).max(1);
    let end = rows.end;
    rows.step_by(step).map(move |start| start..end.min(start.saturating_add(step as u32)))
}
