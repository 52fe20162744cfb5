//! The crate's own sub-layer of experts, without a norm before it and without a residual.

use std::collections::HashMap;
use std::time::Duration;

use wattle::energy::Phase;
use wattle::kernel::{BindingKind, Span};
use wattle::model::config::{
    Activation, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Routing, SubLayer,
};
use wattle::model::forward::{LogitRows, PassOptions, expert_places, record};
use wattle::model::layout::{ExpertsLayout, Layout, Matrix, OpLayout};
use wattle::model::plan::WeightPlan;
use wattle::model::slot::{Place, Role};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::schedule::memory::MemoryPool;
use wattle::schedule::{Home, Schedule};
use wattle::tuning::ProductPath;
use wattle::{Gpu, Tensor};

use super::Ours;
use crate::check::{Found, Numbers, Task};
use crate::copies::rotated;
use crate::layer::Layer;
use crate::routes::Routes;
use crate::support::Result;
use crate::support::chain::{Chain, Link};
use crate::support::roof::Roof;

/// What a layer reads and leaves, as a pass calls it.
const X: &str = "hidden.0";
const Y: &str = "sum";
const EXPERTS: &str = "expert_of_slot";

/// One layer of a pass.
struct Recorded {
    layout: Layout,
    schedule: Schedule,
}

impl Recorded {
    fn new(gpu: &Gpu, format: WeightFormat, layer: Layer) -> Result<Self> {
        let config = config(layer);
        let plan = WeightPlan { embedding: WeightFormat::F32, ..WeightPlan::uniform(format) };
        let layout = Layout::new(&config, &plan, gpu.capabilities())?;
        let phase = if layer.tokens == 1 { Phase::Decode } else { Phase::Prefill };
        let options = PassOptions {
            logits: LogitRows::None,
            path: ProductPath::Matrix,
            ..PassOptions::new(phase, layer.tokens, layer.tokens + 1)
        };
        let mut schedule = record(&config, &layout, gpu.capabilities(), &options)?;
        schedule.steps.retain(|step| !matches!(step.site.what, "embed" | "post_norm"));
        let ends = schedule.tensors.iter_mut();
        for end in ends.filter(|tensor| [X, Y].contains(&&*tensor.name) || tensor.name.ends_with(EXPERTS)) {
            end.home = Home::Named;
        }
        Ok(Self { layout, schedule })
    }

    fn experts(&self) -> Result<&ExpertsLayout> {
        match &self.layout.blocks[0][0].op {
            OpLayout::Experts(experts) => Ok(experts),
            _ => Err("the layer has no experts".into()),
        }
    }

    /// The tensor whose name ends so.
    fn name(&self, end: &str) -> Result<String> {
        let found = self.schedule.tensors.iter().find(|tensor| tensor.name.ends_with(end));
        found.map(|tensor| tensor.name.clone()).ok_or_else(|| format!("no tensor is called {end}").into())
    }
}

/// A model of one layer. Where a norm comes after a layer, its sum goes there without the residual.
fn config(layer: Layer) -> ModelConfig {
    let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
    let network = FeedForward::gated(layer.hidden, Activation::Silu);
    let experts = Experts::new(layer.experts, layer.choices, Routing::softmax_topk(true), network);
    let op = Op::Experts(experts);
    ModelConfig {
        name: "a layer of experts".into(),
        vocab_size: 32,
        hidden_size: layer.width,
        context_length: layer.tokens + 1,
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.0,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks: vec![Block {
            sublayers: vec![SubLayer { norm: None, post_norm: Some(norm), ..SubLayer::new(norm, op) }],
        }],
        final_norm: norm,
        head: Head { tied: true, ..Head::default() },
    }
}

/// How many copies of the experts that are hit to go through, or a reason not to.
pub fn copies(
    gpu: &Gpu,
    roof: &Roof,
    format: WeightFormat,
    layer: Layer,
    (runs, longest): (u32, Option<Duration>),
) -> Result<u32, String> {
    let recorded = Recorded::new(gpu, format, layer).map_err(|error| error.to_string())?;
    let experts = recorded.experts().map_err(|error| error.to_string())?;
    let all = experts.into.matrices.iter().chain(&experts.down.matrices).map(Matrix::bytes).sum::<u64>();
    let hit = all * u64::from(layer.most_hit()) / u64::from(layer.experts);
    let rows_of_expert = (layer.tokens * layer.choices).div_ceil(layer.most_hit());
    let copies = rotated(gpu).div_ceil(hit * u64::from(rows_of_expert.div_ceil(16))) as u32;
    let work = recorded.schedule.work(Span { position: 0, rows: layer.tokens });
    let predicted = runs * copies * roof.time(&work, layer.tokens);
    match longest.is_some_and(|longest| predicted > longest) {
        true => Err(format!("predicted to take {:.0} s", predicted.as_secs_f64())),
        false => Ok(copies),
    }
}

/// Uploads, and checks the result.
pub fn prepare(gpu: &Gpu, format: WeightFormat, layer: Layer, copies: u32) -> Result<Ours> {
    let recorded = Recorded::new(gpu, format, layer)?;
    let (x, routes) = Routes::draw(layer);
    let mut tensors = HashMap::new();
    let weights = upload_weights(gpu, &recorded, (layer, &routes), copies, &mut tensors)?;
    let upload = |values: &[u32]| gpu.block_on(Tensor::upload(gpu, "experts", values));
    let zeroed = |words: u32| gpu.block_on(Tensor::zeroed(gpu, "experts", 4 * u64::from(words)));
    let y = zeroed(layer.tokens * layer.width)?;
    let chosen = zeroed(layer.tokens * layer.choices)?;
    let named = [(X.into(), upload(bytemuck::cast_slice(&x))?), (Y.into(), y.clone())];
    tensors.extend(named.into_iter().chain([(recorded.name(EXPERTS)?, chosen.clone())]));
    for (name, table) in expert_places(&recorded.layout) {
        tensors.insert(name, upload(&table)?);
    }
    let links = links(gpu, &recorded.schedule, copies, &mut tensors)?;
    let span = Span::of_rows(layer.tokens);
    let mut chain = Chain::new(gpu, &links, &tensors, &[span], &[span.into()])?;
    chain.run(1)?;
    let y = gpu.block_on(y.read(gpu, 0, layer.tokens as usize * layer.width as usize))?;
    let chosen = gpu.block_on(chosen.read(gpu, 0, layer.tokens as usize * layer.choices as usize))?;
    let product = recorded.schedule.steps.iter().find(|step| step.site.what == "expert_up");
    let kernel = product.ok_or("no experts are computed")?.launch.name();
    let numbers = Numbers { task: Task::Experts(layer, routes), x, weights };
    Ours::checked(vec![chain], kernel, numbers, &Found { y, routes: chosen })
}

/// Every copy of the layer, one after the other. They share what a layer leaves behind, but not the weights.
fn links(
    gpu: &Gpu,
    schedule: &Schedule,
    copies: u32,
    tensors: &mut HashMap<String, Tensor>,
) -> Result<Vec<Link>> {
    let mut pool = MemoryPool::default();
    let plan = pool.plan(schedule);
    let activations = |buffer: usize| format!("activations {buffer}");
    let buffers = gpu.block_on(pool.allocate(gpu))?;
    tensors.extend(buffers.into_iter().enumerate().map(|(buffer, tensor)| (activations(buffer), tensor)));
    let name = |tensor: usize, copy: u32| match plan.buffer_of[tensor] {
        Some(buffer) => activations(buffer),
        None => {
            let name = &schedule.tensors[tensor].name;
            let copied = of_copy(name, copy);
            if tensors.contains_key(&copied) { copied } else { name.clone() }
        }
    };
    let steps = (0..copies).flat_map(|copy| schedule.steps.iter().map(move |step| (copy, step)));
    let links = steps.map(|(copy, step)| {
        let bindings = step.launch.bindings().into_iter();
        let stored =
            bindings.filter(|binding| !matches!(binding.kind, BindingKind::Params | BindingKind::Span));
        let ends = stored.filter_map(|binding| {
            let (_, id) = step.tensors.iter().find(|(index, _)| *index == binding.index)?;
            Some((binding.name, name(id.index(), copy)))
        });
        (step.launch.clone(), ends.collect())
    });
    Ok(links.collect())
}

fn of_copy(name: &str, copy: u32) -> String {
    format!("{name} {copy}")
}

/// Makes every matrix and uploads it so many times. Returns what the experts' stand for: all gates, `[E, f, d]`, all ups, all
/// downs, `[E, d, f]`.
fn upload_weights(
    gpu: &Gpu,
    recorded: &Recorded,
    (layer, routes): (Layer, &Routes),
    copies: u32,
    tensors: &mut HashMap<String, Tensor>,
) -> Result<Vec<f32>> {
    let mut weights = vec![0.0; 3 * layer.experts as usize * layer.matrix()];
    let experts = recorded.experts()?;
    let matrices = experts.router.iter().chain(&experts.into.matrices).chain(&experts.down.matrices);
    for (key, matrix) in matrices.enumerate() {
        let cols = matrix.cols as usize;
        for (n, shard) in matrix.shards.iter().enumerate() {
            let rows = shard.start as usize..shard.end as usize;
            let packed = match matrix.experts.is_empty() {
                true => PackedMatrix::f32(rows.len(), cols, &routes.router)?,
                false => PackedMatrix::random(matrix.format, rows, cols, 10 + key as u64),
            };
            let [words, scales, _] = matrix.shard_names(n);
            for copy in 0..copies {
                let mut upload = |name: &str, data: &[u32]| -> Result<()> {
                    let tensor = gpu.block_on(Tensor::upload(gpu, name, data))?;
                    tensors.insert(of_copy(name, copy), tensor);
                    Ok(())
                };
                upload(&words, &packed.words)?;
                if !packed.scales.is_empty() {
                    upload(&scales, &packed.scales)?;
                }
                // Lets the queue free its staging memory before the next copy.
                gpu.queue().submit([]);
            }
            for (row, values) in shard.clone().zip(packed.unpack().chunks(cols)) {
                let (slot, at) = matrix.locate(row);
                let stack = match slot.role {
                    Role::Gate => 0,
                    Role::Up => 1,
                    Role::Down => 2,
                    _ => continue,
                };
                let Place::Expert(_, expert) = slot.place else { continue };
                let first = (stack * layer.experts as usize + expert) * layer.matrix() + at as usize * cols;
                weights[first..][..cols].copy_from_slice(values);
            }
        }
    }
    Ok(weights)
}
