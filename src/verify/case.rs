//! A checkpoint with the outputs that were computed from it elsewhere.

use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::model::config::Op;
use crate::model::{Source, open};
use crate::reference::forward::{RouteTrace, Trace};
use crate::{Error, Result};

/// A model directory with a `golden.safetensors`.
#[derive(Debug)]
pub struct Case {
    /// Name of the directory.
    pub name: String,
    /// The model.
    pub source: Source,
    /// Prompts, one per row of a batch.
    pub prompts: Vec<Prompt>,
}

/// A prompt and what came of it.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The prompt.
    pub ids: Vec<u32>,
    /// What its forward pass computed.
    pub trace: Trace,
    /// Its greedy continuation.
    pub greedy_ids: Vec<u32>,
    /// The logits that each of those was chosen from, `[n, V]`.
    pub greedy_logits: Vec<f32>,
}

impl Case {
    /// Opens a directory laid out like the golden cases.
    ///
    /// # Errors
    /// Those of [`open`], and the same for the golden file.
    pub fn open(dir: &Path) -> Result<Self> {
        let source = open(dir)?;
        let golden = Golden::open(dir)?;
        let mut prompts = golden.prompts("", &source)?;
        prompts.extend(golden.prompts("long_", &source)?);
        let name = dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into());
        Ok(Self { name, source, prompts })
    }
}

/// The golden tensors of a case.
struct Golden {
    path: String,
    bytes: Vec<u8>,
}

impl Golden {
    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("golden.safetensors");
        let shown = path.display().to_string();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self { path: shown, bytes }),
            Err(source) => Err(Error::Io { path: shown, source }),
        }
    }

    fn prompts(&self, prefix: &str, source: &Source) -> Result<Vec<Prompt>> {
        let ids = self.integers(&format!("{prefix}input_ids"))?;
        let batch = self.batch(&format!("{prefix}input_ids"))?;
        let greedy_ids = self.integers(&format!("{prefix}greedy_ids"))?;
        let greedy_logits = self.floats(&format!("{prefix}greedy_logits"))?;
        let logits = self.floats(&format!("{prefix}logits"))?;
        let (layers, last_block) = self.hidden(prefix, source.config.blocks.len())?;
        let length = ids.len() / batch;
        let prompt = |row: usize| {
            let trace = Trace {
                hidden: layers.iter().map(|layer| part(layer, batch, row)).collect(),
                last_block: part(&last_block, batch, row),
                logits: part(&logits, batch, row),
                routes: self.routes(prefix, source, row, length)?,
            };
            let greedy_logits = part(&greedy_logits, batch, row);
            Ok(Prompt {
                ids: part(&ids, batch, row),
                trace,
                greedy_ids: part(&greedy_ids, batch, row),
                greedy_logits,
            })
        };
        (0..batch).map(prompt).collect()
    }

    /// Hidden states by layer, and the last block's output; none of them where a file keeps to logits.
    fn hidden(&self, prefix: &str, blocks: usize) -> Result<(Vec<Vec<f32>>, Vec<f32>)> {
        let name = |i: usize| format!("{prefix}hidden_states.{i}");
        let last = format!("{prefix}last_layer_output");
        if (0..=blocks).map(name).chain([last.clone()]).all(|name| self.view(&name).is_err()) {
            return Ok((Vec::new(), Vec::new()));
        }
        let layers = (0..=blocks).map(|i| self.floats(&name(i))).collect::<Result<Vec<_>>>()?;
        Ok((layers, self.floats(&last)?))
    }

    /// Tokens of batch row `row` are rows `row * length ..` of the router's records.
    fn routes(&self, prefix: &str, source: &Source, row: usize, length: usize) -> Result<Vec<RouteTrace>> {
        let experts = source.config.sublayers().filter_map(|(_, _, layer)| match &layer.op {
            Op::Experts(experts) => Some(experts),
            _ => None,
        });
        experts
            .enumerate()
            .map(|(k, experts)| {
                let (count, choices) = (experts.count as usize, experts.top_k as usize);
                let rows = row * length..(row + 1) * length;
                let logits = self.floats(&format!("{prefix}router_logits.{k}"))?;
                let weights = self.floats(&format!("{prefix}router_topk_weight.{k}"))?;
                let chosen = self.integers(&format!("{prefix}router_topk_idx.{k}"))?;
                Ok(RouteTrace {
                    logits: rows_of(&logits, count, &rows),
                    experts: rows_of(&chosen, choices, &rows),
                    weights: rows_of(&weights, choices, &rows),
                    top_k: choices,
                })
            })
            .collect()
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>> {
        self.tensor(name, Dtype::F32, |bytes: &[u8; 4]| f32::from_le_bytes(*bytes))
    }

    fn integers(&self, name: &str) -> Result<Vec<u32>> {
        self.tensor(name, Dtype::I64, |bytes: &[u8; 8]| i64::from_le_bytes(*bytes) as u32)
    }

    fn batch(&self, name: &str) -> Result<usize> {
        match self.view(name)?.shape() {
            [batch, length, ..] if *batch > 0 && *length > 0 => Ok(*batch),
            shape => Err(Error::format(&self.path, format!("'{name}' has the shape {shape:?}"))),
        }
    }

    fn tensor<const N: usize, T>(
        &self,
        name: &str,
        dtype: Dtype,
        read: impl Fn(&[u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let view = self.view(name)?;
        if view.dtype() != dtype {
            let message = format!("'{name}' should hold {dtype:?}, but holds {:?}", view.dtype());
            return Err(Error::format(&self.path, message));
        }
        Ok(view.data().as_chunks().0.iter().map(read).collect())
    }

    fn view(&self, name: &str) -> Result<TensorView<'_>> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| Error::format(&self.path, error))?;
        file.tensor(name).map_err(|error| Error::format(&self.path, format!("'{name}': {error}")))
    }
}

/// The share of batch row `row` in a tensor whose first axis is the batch.
fn part<T: Clone>(all: &[T], batch: usize, row: usize) -> Vec<T> {
    let length = all.len() / batch;
    all[row * length..(row + 1) * length].to_vec()
}

/// Some rows of `width` elements; empty where there are not so many.
fn rows_of<T: Clone>(all: &[T], width: usize, rows: &std::ops::Range<usize>) -> Vec<T> {
    all.get(rows.start * width..rows.end * width).unwrap_or(&[]).to_vec()
}
