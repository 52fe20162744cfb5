//! A checkpoint with the outputs that were computed from it elsewhere.

use std::fmt::Display;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::model::config::Experts;
use crate::model::slot::{Place, Role, Slot, Stack};
use crate::model::{Source, open};
use crate::reference::forward::{Conditions, RouteTrace, Trace, routed_layers};
use crate::reference::moe::Router;
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
    /// Under which they were run.
    pub conditions: Conditions,
}

/// A prompt and what came of it.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What an encoder reads before it, where there is one.
    pub input: Option<Input>,
    /// The prompt; of a model with an encoder what its decoder is given.
    pub ids: Vec<u32>,
    /// What its forward pass computed.
    pub trace: Trace,
    /// How many of its tokens the greedy path begins with: all, but where there is an encoder one.
    pub begin: usize,
    /// Its greedy continuation.
    pub greedy_ids: Vec<u32>,
    /// The logits that each of those was chosen from, `[n, V]`.
    pub greedy_logits: Vec<f32>,
}

/// What an encoder reads and what comes of it.
#[derive(Clone, Debug)]
pub struct Input {
    /// The tokens.
    pub ids: Vec<u32>,
    /// What the encoder computed.
    pub trace: Trace,
}

impl Prompt {
    /// What the greedy path continues.
    pub fn start(&self) -> &[u32] {
        &self.ids[..self.begin]
    }
}

impl Case {
    /// Opens a directory laid out like the golden cases.
    ///
    /// # Errors
    /// Those of [`open`]; [`Error::Io`] where there is no golden file, and [`Error::Format`] naming the tensor that it
    /// lacks, or whose type, shape or values are not those of the model.
    pub fn open(dir: &Path) -> Result<Self> {
        let source = open(dir)?;
        let golden = Golden::open(dir)?;
        let mut prompts = golden.prompts("", &source)?;
        prompts.extend(golden.prompts("long_", &source)?);
        let name = dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into());
        Ok(Self { name, source, prompts, conditions: Conditions::default() })
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
        let config = &source.config;
        let vocab = config.vocab_size as usize;
        let has_encoder = config.encoder.is_some();
        let ids = if has_encoder { "decoder_input_ids" } else { "input_ids" };
        let [batch, length] = self.two_axes(&format!("{prefix}{ids}"))?;
        let [_, steps] = self.two_axes(&format!("{prefix}greedy_ids"))?;
        let ids = self.integers(&format!("{prefix}{ids}"), &[batch, length])?;
        let greedy_ids = self.integers(&format!("{prefix}greedy_ids"), &[batch, steps])?;
        let greedy_logits = self.floats(&format!("{prefix}greedy_logits"), &[batch, steps, vocab])?;
        let logits = self.floats(&format!("{prefix}logits"), &[batch, length, vocab])?;
        let mut inputs =
            if has_encoder { self.inputs(prefix, source, batch)? } else { Vec::new() }.into_iter();
        let decoder = if has_encoder { "decoder_" } else { "" };
        let traces = self.traces((prefix, decoder), source, Stack::Decoder, [batch, length])?;
        let prompt = |(row, trace): (usize, Trace)| Prompt {
            input: inputs.next(),
            ids: part(&ids, batch, row),
            trace: Trace { logits: part(&logits, batch, row), ..trace },
            begin: if has_encoder { 1 } else { length },
            greedy_ids: part(&greedy_ids, batch, row),
            greedy_logits: part(&greedy_logits, batch, row),
        };
        Ok(traces.into_iter().enumerate().map(prompt).collect())
    }

    /// What the encoder reads, by row of the batch.
    fn inputs(&self, prefix: &str, source: &Source, batch: usize) -> Result<Vec<Input>> {
        let name = format!("{prefix}input_ids");
        let [_, length] = self.two_axes(&name)?;
        let ids = self.integers(&name, &[batch, length])?;
        let traces = self.traces((prefix, "encoder_"), source, Stack::Encoder, [batch, length])?;
        let input = |(row, trace)| Input { ids: part(&ids, batch, row), trace };
        Ok(traces.into_iter().enumerate().map(input).collect())
    }

    /// What a stack computed, but for logits, by row of the batch.
    fn traces(
        &self,
        prefixes: (&str, &str),
        source: &Source,
        stack: Stack,
        [batch, length]: [usize; 2],
    ) -> Result<Vec<Trace>> {
        let config = &source.config;
        let streams = config.streams.map(|streams| streams.count as usize);
        let shape: Vec<_> = streams.into_iter().chain([batch, length, config.hidden_size as usize]).collect();
        let (layers, last_block) = self.hidden(prefixes, config.blocks_of(stack).len(), &shape)?;
        let routes = self.routes(prefixes.0, source, stack, batch * length)?;
        let trace = |row: usize| Trace {
            hidden: layers.iter().map(|layer| part(layer, batch, row)).collect(),
            last_block: part(&last_block, batch, row),
            logits: Vec::new(),
            routes: routes.iter().map(|layer| part_of_routes(layer, batch, row)).collect(),
        };
        Ok((0..batch).map(trace).collect())
    }

    /// Hidden states by layer, and the last block's output; none of them where a file keeps to logits. Where a model has an
    /// encoder, the last block's output is recorded after the norm alone.
    fn hidden(
        &self,
        (prefix, stack): (&str, &str),
        blocks: usize,
        shape: &[usize],
    ) -> Result<(Vec<Vec<f32>>, Vec<f32>)> {
        let name = |i: usize| format!("{prefix}{stack}hidden_states.{i}");
        let last = format!("{prefix}last_layer_output");
        self.refuse(&name(blocks + 1), format_args!("the model has {blocks} layers"))?;
        if !(0..=blocks).map(name).chain([last.clone()]).any(|name| self.has(&name)) {
            return Ok((Vec::new(), Vec::new()));
        }
        let read = |name: &str| Ok(by_token(self.floats(name, shape)?, shape));
        let layers = (0..=blocks).map(|i| read(&name(i))).collect::<Result<Vec<_>>>()?;
        let last_block = if stack.is_empty() { read(&last)? } else { Vec::new() };
        Ok((layers, last_block))
    }

    /// The routers' records of a stack by layer, each of `tokens` rows; none of them where a file has none. Those of an encoder
    /// come first.
    fn routes(&self, prefix: &str, source: &Source, stack: Stack, tokens: usize) -> Result<Vec<RouteTrace>> {
        let name = |part: &str, layer: usize| format!("{prefix}router_{part}.{layer}");
        let names = |layer: usize| ["logits", "topk_idx", "topk_weight"].map(|part| name(part, layer));
        let layers: Vec<_> = routed_layers(&source.config, false).collect();
        for name in names(layers.len()) {
            self.refuse(&name, format_args!("the model has {} routers", layers.len()))?;
        }
        if !(0..layers.len()).flat_map(names).any(|name| self.has(&name)) {
            return Ok(Vec::new());
        }
        let route = |(layer, (place, experts)): (usize, &(Place, &Experts))| {
            let (count, top_k) = (experts.count as usize, experts.top_k as usize);
            let logits = self.floats(&name("logits", layer), &[tokens, count])?;
            let bias = selection_bias(source, *place, experts)?;
            let router = Router::new(experts.routing, count, top_k);
            let router = Router { selection_bias: bias.as_deref(), ..router };
            let chosen = self.integers(&name("topk_idx", layer), &[tokens, top_k])?;
            Ok(RouteTrace {
                keys: router.keys(&logits),
                next_groups: router.next_groups(&logits),
                margins: router.margins(&logits, &chosen),
                logits,
                experts: chosen,
                weights: self.floats(&name("topk_weight", layer), &[tokens, top_k])?,
                top_k,
            })
        };
        let of_stack = layers.iter().enumerate().filter(|(_, (place, _))| place.stack() == stack);
        of_stack.map(route).collect()
    }

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let data = self.tensor(name, Dtype::F32, shape)?;
        Ok(data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Token ids or experts.
    fn integers(&self, name: &str, shape: &[usize]) -> Result<Vec<u32>> {
        let data = self.tensor(name, Dtype::I64, shape)?;
        let integer = |bytes: &[u8; 8]| {
            let value = i64::from_le_bytes(*bytes);
            u32::try_from(value).map_err(|_| self.wrong(name, "integers from 0 to 2^32 - 1", value))
        };
        data.as_chunks().0.iter().map(integer).collect()
    }

    /// The lengths of a tensor's two axes, of which the rest follows.
    fn two_axes(&self, name: &str) -> Result<[usize; 2]> {
        match *self.view(name)?.shape() {
            [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
            ref shape => Err(self.wrong(name, "two axes that are not empty", format_args!("{shape:?}"))),
        }
    }

    fn tensor(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&[u8]> {
        let view = self.view(name)?;
        if view.dtype() != dtype || view.shape() != shape {
            let found = format!("{:?} {:?}", view.dtype(), view.shape());
            return Err(self.wrong(name, &format!("{dtype:?} {shape:?}"), found));
        }
        Ok(view.data())
    }

    fn has(&self, name: &str) -> bool {
        self.view(name).is_ok()
    }

    fn refuse(&self, name: &str, why: impl Display) -> Result<()> {
        match self.has(name) {
            true => Err(Error::format(&self.path, format!("'{name}' is of no layer: {why}"))),
            false => Ok(()),
        }
    }

    fn wrong(&self, name: &str, expected: &str, found: impl Display) -> Error {
        Error::format(&self.path, format!("'{name}': expected {expected}, found {found}"))
    }

    fn view(&self, name: &str) -> Result<TensorView<'_>> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| Error::format(&self.path, error))?;
        file.tensor(name).map_err(|error| Error::format(&self.path, format!("'{name}': {error}")))
    }
}

/// Several residual streams, `[A, B, T, d]`, side by side, `[B, T, A, d]`; one as it is.
fn by_token(values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
    let &[streams, batch, length, width] = shape else { return values };
    let tokens = batch * length;
    let of = |token: usize| (0..streams).map(move |stream| (stream * tokens + token) * width);
    (0..tokens).flat_map(of).flat_map(|at| &values[at..at + width]).copied().collect()
}

/// The share of batch row `row` in a tensor whose first axis is the batch, or the tokens of all its rows.
fn part<T: Clone>(all: &[T], batch: usize, row: usize) -> Vec<T> {
    let length = all.len() / batch;
    all[row * length..(row + 1) * length].to_vec()
}

/// What is added to the scores of a layer's experts, where the model has it.
fn selection_bias(source: &Source, place: Place, experts: &Experts) -> Result<Option<Vec<f32>>> {
    let is_biased = experts.routing.topk().is_some_and(|topk| topk.selection_bias);
    let slot = Slot::weight(place, Role::SelectionBias);
    is_biased.then(|| source.fetch(slot, &[experts.count as usize])).transpose()
}

fn part_of_routes(all: &RouteTrace, batch: usize, row: usize) -> RouteTrace {
    RouteTrace {
        logits: part(&all.logits, batch, row),
        keys: part(&all.keys, batch, row),
        next_groups: part(&all.next_groups, batch, row),
        margins: part(&all.margins, batch, row),
        experts: part(&all.experts, batch, row),
        weights: part(&all.weights, batch, row),
        top_k: all.top_k,
    }
}
