//! What a session will need, known before anything is allocated.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::caches::Caches;
use super::named::named_tensors;
use super::sequences::Local;
use crate::energy::{Ledger, Level, Phase, note_bytes};
use crate::fragments::CacheFormat;
use crate::gpu::Capabilities;
use crate::kernel::{MAX_SEQUENCES, SPAN_BYTES, Span};
use crate::model::config::{Experts, ModelConfig, Op, Routing};
use crate::model::forward::{LogitRows, Paging, PassOptions, Sampling, TokenGroups, expert_places, record};
use crate::model::layout::Layout;
use crate::model::slot::Stack;
use crate::schedule::Schedule;
use crate::schedule::memory::{MemoryPlan, MemoryPool};
use crate::tuning::{ProductPath, Tuning};
use crate::{Error, Result};

/// How a session is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionOptions {
    /// Most tokens of a sequence, at most the model's context.
    pub context: u32,
    /// Sequences that there can be at a time, at most [`MAX_SEQUENCES`].
    pub sequences: u32,
    /// Pages that hold the keys and values of global layers, for all sequences together; `None`: each sequence has room for its
    /// whole context. Local layers always have their window's slots for each sequence.
    pub paging: Option<Paging>,
    /// What keys and values are stored as.
    pub cache: CacheFormat,
    /// Whether a sequence's bits do not depend on who else is in a step: which kernels run and the order of their sums depend on
    /// these options and the sequence alone. Off, a sequence that is alone in a step has kernels for one row, which may round
    /// otherwise.
    pub batch_invariant: bool,
    /// Most tokens of one prefill pass, of all sequences together.
    pub max_chunk: u32,
    /// Most tokens of an encoder's input, at most the model's context; without an encoder it says nothing. An input is one
    /// pass, whatever it costs.
    pub encoder_tokens: u32,
    /// Most operations of one prefill pass, so that no driver takes it for a hang. Chunks are shortened to fit; a
    /// single row always runs. Models that are served later ([`Session::serve`]) keep the chunks that come of it.
    ///
    /// [`Session::serve`]: super::Session::serve
    pub chunk_ops: u64,
    /// Which rows of a prompt get logits; all of them only where no token is sampled.
    pub logits: LogitRows,
    /// Whether hidden states and router logits of prompts are kept for inspection.
    pub trace: bool,
    /// Whether the ledger keeps what routers leave, each pass, for [`Session::router_metrics_of`]: a copy at the end of a pass,
    /// and for a token in each layer of experts a word for each output of the router and for each expert and weight that it has
    /// or may have: mostly `E + 2k`. Room for a chunk and 256 steps is on the device, twice; the newest 64 MiB, or as much as that
    /// room, stay on the host.
    ///
    /// [`Session::router_metrics_of`]: super::Session::router_metrics_of
    pub router_telemetry: bool,
    /// How tokens are drawn; `None`: they are given.
    pub sampling: Option<Sampling>,
    /// Most bytes on the device, weights included.
    pub memory_ceiling: Option<u64>,
    /// What the ledger records.
    pub ledger: Level,
    /// How products are computed; `None`: as [`Tuning::shipped`] says for the device.
    pub tuning: Option<Arc<Tuning>>,
    /// What products may round what they multiply to.
    pub path: ProductPath,
    /// Routes tokens as in training, with draws from this seed: noise in routers that have it, balance between experts, later
    /// choices by chance. `None`: as at inference.
    pub training: Option<u32>,
    /// Which tokens compete for experts, where a routing compares tokens: by default those of each sequence. With those of the whole
    /// batch, what a sequence gets depends on who else is in a step, whatever [`SessionOptions::batch_invariant`] says.
    pub token_groups: TokenGroups,
    /// The task of the sequence, for models whose experts go by tasks; [`Session::set_task`] changes it.
    ///
    /// [`Session::set_task`]: super::Session::set_task
    pub task: Option<u32>,
}

impl SessionOptions {
    /// A session for one sequence that samples its tokens, for `context` of them, and where there is an encoder for an input of as many.
    pub fn new(context: u32, sampling: Sampling) -> Self {
        Self {
            context,
            sequences: 1,
            paging: None,
            cache: CacheFormat::F32,
            batch_invariant: true,
            max_chunk: 256,
            encoder_tokens: context,
            chunk_ops: 100_000_000_000,
            logits: LogitRows::Last,
            trace: false,
            router_telemetry: false,
            sampling: Some(sampling),
            memory_ceiling: None,
            ledger: Level::Counts,
            tuning: None,
            path: ProductPath::default(),
            training: None,
            token_groups: TokenGroups::Sequence,
            task: None,
        }
    }
}

/// Decode steps whose notes the ledger has room for before they are collected, beside a chunk of a prompt.
const PASSES_NOTED: u64 = 256;

/// The schedules of a session and the memory they take.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPlan {
    /// Chunk of a prompt that is not its end.
    pub part: (Schedule, MemoryPlan),
    /// Chunk that ends a prompt.
    pub prefill: (Schedule, MemoryPlan),
    /// One decode step.
    pub decode: (Schedule, MemoryPlan),
    /// One of a sequence that is alone in it, where that is another.
    pub alone: Option<(Schedule, MemoryPlan)>,
    /// The input of an encoder, if there is one.
    pub encoder: Option<(Schedule, MemoryPlan)>,
    /// Activation buffers, shared by all passes.
    pub pool: MemoryPool,
    /// Most tokens of one prefill pass.
    pub chunk_rows: u32,
    /// Most tokens of a sequence.
    pub context: u32,
    /// What local layers keep.
    pub(super) local: Vec<Local>,
    /// Bytes of what is bound by name and does not belong to the model.
    pub state_bytes: u64,
    /// Bytes of what runs the passes: their uniforms, tables of experts' places, a part of a cache on its way to another.
    pub pass_bytes: u64,
    /// Bytes of what watches them: the ledger's timestamps and notes.
    pub ledger_bytes: u64,
    /// Bytes of the notes that the ledger has room for.
    pub(super) note_bytes: u64,
    weight_names: HashSet<String>,
}

impl SessionPlan {
    /// Plans a session of a model laid out for a device.
    ///
    /// # Errors
    /// [`Error::Request`] for options out of range; [`Error::Shape`] for chunks whose balance, as trained, a CPU device cannot finish.
    pub fn new(
        config: &ModelConfig,
        layout: &Layout,
        capabilities: &Capabilities,
        options: &SessionOptions,
    ) -> Result<Self> {
        check(config, options)?;
        let pass = |stack, phase, logits, rows| {
            let sampling = options.sampling.filter(|_| logits == LogitRows::Last);
            let trace = options.trace;
            let context = options.context;
            record(
                config,
                layout,
                capabilities,
                &PassOptions {
                    stack,
                    phase,
                    max_rows: rows,
                    context,
                    encoder_tokens: options.encoder_tokens,
                    sequences: options.sequences,
                    paging: options.paging,
                    cache: options.cache,
                    logits,
                    trace,
                    router_telemetry: options.router_telemetry,
                    sampling,
                    tuning: options.tuning.clone(),
                    path: options.path,
                    training: options.training,
                    token_groups: options.token_groups,
                },
            )
        };
        let widest = options.max_chunk.min(options.context);
        let mut prefill = pass(Stack::Decoder, Phase::Prefill, options.logits, widest)?;
        // Fewer rows may take other kernels, which compute more.
        let chunk_rows = loop {
            let rows = rows_within(&prefill, options);
            if rows == prefill.max_rows {
                break rows;
            }
            prefill = pass(Stack::Decoder, Phase::Prefill, options.logits, rows)?;
        };
        let part = pass(Stack::Decoder, Phase::Prefill, LogitRows::None, chunk_rows)?;
        let decode = pass(Stack::Decoder, Phase::Decode, LogitRows::Last, options.sequences)?;
        let is_alone = options.sequences > 1 && !options.batch_invariant;
        let alone = is_alone.then(|| pass(Stack::Decoder, Phase::Decode, LogitRows::Last, 1)).transpose()?;
        let input = options.encoder_tokens;
        let has_encoder = config.encoder.is_some();
        let encoder =
            has_encoder.then(|| pass(Stack::Encoder, Phase::Prefill, LogitRows::None, input)).transpose()?;
        let mut pool = MemoryPool::default();
        let mut planned = |schedule: Schedule| {
            let memory = pool.plan(&schedule);
            (schedule, memory)
        };
        let [part, prefill, decode] = [part, prefill, decode].map(&mut planned);
        let alone = alone.map(&mut planned);
        let encoder = encoder.map(planned);
        let places = expert_places(layout);
        let weight_names = layout
            .matrices()
            .flat_map(|matrix| (0..matrix.shards.len()).flat_map(|n| matrix.shard_names(n)))
            .chain(layout.vectors().map(|norm| norm.name.clone()))
            .chain(places.iter().map(|(name, _)| name.clone()))
            .collect();
        let context = options.context;
        let uniforms = [&part, &prefill, &decode].into_iter().chain(&alone).chain(&encoder);
        let uniform_bytes: u64 = uniforms
            .map(|(schedule, _)| schedule.params(capabilities.uniform_alignment).0.len() as u64)
            .sum();
        let tables: u64 = places.iter().map(|(_, places)| size_of_val(&places[..]) as u64).sum();
        let of_input = encoder.as_ref().map_or(0, |(schedule, _)| note_bytes(schedule, input));
        let of_step = note_bytes(&decode.0, options.sequences);
        let notes = PASSES_NOTED * of_step + note_bytes(&prefill.0, chunk_rows) + of_input;
        let note_bytes = if options.ledger == Level::Off { 0 } else { notes };
        let between = Caches::between_bytes(&decode.0, options.sequences);
        let mut plan = Self {
            part,
            prefill,
            decode,
            alone,
            encoder,
            pool,
            chunk_rows,
            context,
            state_bytes: 0,
            pass_bytes: uniform_bytes + tables + between,
            local: local(config),
            ledger_bytes: options.ledger.device_bytes(capabilities)
                + Ledger::device_bytes_of_notes(note_bytes),
            note_bytes,
            weight_names,
        };
        plan.state_bytes = plan.named_bytes().values().sum();
        Ok(plan)
    }

    /// Tensors that are bound by name and do not belong to the model, with their bytes.
    pub fn named_bytes(&self) -> BTreeMap<String, u64> {
        let mut named = BTreeMap::from([("span".to_owned(), SPAN_BYTES)]);
        let others = self.alone.iter().chain(&self.encoder);
        for (schedule, _) in [&self.part, &self.prefill, &self.decode].into_iter().chain(others) {
            for (name, bytes) in named_tensors(schedule) {
                if !self.weight_names.contains(name) {
                    let entry = named.entry(name.to_owned()).or_default();
                    *entry = bytes.max(*entry);
                }
            }
        }
        named
    }

    /// Bytes on the device beside the model's weights: caches and tables, activations, uniforms, timestamps and notes.
    /// A few hundred bytes more pass through while tokens are sent and read.
    pub fn bytes(&self) -> u64 {
        self.state_bytes + self.pool.bytes() + self.pass_bytes + self.ledger_bytes
    }

    /// Refuses a plan that takes more than a ceiling together with the weights.
    ///
    /// # Errors
    /// [`Error::Memory`], with what is needed.
    pub fn check_ceiling(&self, weight_bytes: u64, ceiling: Option<u64>) -> Result<()> {
        let needed_bytes = weight_bytes + self.bytes();
        match ceiling {
            Some(available_bytes) if needed_bytes > available_bytes => Err(Error::Memory {
                what: "weights, caches and activations".into(),
                needed_bytes,
                available_bytes,
            }),
            _ => Ok(()),
        }
    }

    /// Refuses a plan with a tensor that no binding or no buffer of the device holds.
    ///
    /// # Errors
    /// [`Error::Memory`], with the name of the first such tensor.
    pub fn check_limits(&self, capabilities: &Capabilities) -> Result<()> {
        let available_bytes = capabilities.max_tensor_bytes();
        let pool =
            self.pool.buffers.iter().enumerate().map(|(n, bytes)| (format!("activations {n}"), *bytes));
        let bound = self.named_bytes().into_iter().chain(pool).map(|of| (of, available_bytes));
        // What is only copied needs no binding.
        let notes = (("notes of routers".to_owned(), self.note_bytes), capabilities.max_buffer_bytes);
        match bound.chain([notes]).find(|((_, bytes), available_bytes)| bytes > available_bytes) {
            Some(((what, needed_bytes), available_bytes)) => {
                Err(Error::Memory { what, needed_bytes, available_bytes })
            }
            None => Ok(()),
        }
    }
}

fn check(config: &ModelConfig, options: &SessionOptions) -> Result<()> {
    let refuse = |message: String| Err(Error::Request(message));
    if options.context == 0 || options.context > config.context_length {
        return refuse(format!(
            "a context of {} tokens is not between 1 and the model's {}",
            options.context, config.context_length
        ));
    }
    let most = config.context_length;
    if config.encoder.is_some() && !(1..=most).contains(&options.encoder_tokens) {
        let found = options.encoder_tokens;
        return refuse(format!("an input of {found} tokens is not between 1 and the model's {most}"));
    }
    if options.max_chunk == 0 {
        return refuse("a prefill chunk of 0 tokens".into());
    }
    if !(1..=MAX_SEQUENCES).contains(&options.sequences) {
        return refuse(format!("{} sequences, where 1 to {MAX_SEQUENCES} are possible", options.sequences));
    }
    if let Some(Paging { page_tokens, pages }) = options.paging
        && (page_tokens == 0 || pages == 0)
    {
        return refuse(format!("{pages} pages of {page_tokens} tokens hold nothing"));
    }
    if config.encoder.is_some() && (options.sequences > 1 || options.paging.is_some()) {
        return refuse("a session of a model with an encoder is one sequence, without pages".into());
    }
    check_task(config, options.task)?;
    let Some(sampling) = options.sampling else { return Ok(()) };
    if options.logits != LogitRows::Last {
        return refuse("a session that samples has logits for the last row".into());
    }
    let temperature = sampling.temperature;
    if !(temperature == 0.0 || (Sampling::LEAST_TEMPERATURE..=f32::MAX).contains(&temperature)) {
        let least = Sampling::LEAST_TEMPERATURE;
        return refuse(format!("temperature {temperature} is neither 0 nor a number from {least} up"));
    }
    if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
        return refuse(format!("top_p {} is not above 0 and at most 1", sampling.top_p));
    }
    if sampling.top_k > Sampling::MOST_KEPT {
        return refuse(format!("top_k {} is above {}", sampling.top_k, Sampling::MOST_KEPT));
    }
    Ok(())
}

/// What local layers keep, each kind once.
fn local(config: &ModelConfig) -> Vec<Local> {
    let mut kinds = Vec::new();
    for (_, op) in config.ops() {
        let Op::Attention(attention) = op else { continue };
        let kind = attention.window.map(Local::Window).or(attention.chunk.map(Local::Chunk));
        kinds.extend(kind.filter(|kind| !kinds.contains(kind)));
    }
    kinds
}

/// Refuses a task that some layer does not know, and none where one is needed.
pub(super) fn check_task(config: &ModelConfig, task: Option<u32>) -> Result<()> {
    let tasks = config.ops().filter_map(|(_, op)| match op {
        Op::Experts(Experts { routing: Routing::Task { tasks }, .. }) => Some(*tasks),
        _ => None,
    });
    match (tasks.min(), task) {
        (Some(tasks), None) => {
            Err(Error::Request(format!("the model goes by tasks: expected one below {tasks}, found none")))
        }
        (Some(tasks), Some(task)) if task >= tasks => {
            Err(Error::Request(format!("expected a task below {tasks}, found {task}")))
        }
        _ => Ok(()),
    }
}

/// Rows of a schedule whose operations at the end of the context stay within the budget: all if they do, else as many as halving
/// finds, at least 1.
fn rows_within(schedule: &Schedule, options: &SessionOptions) -> u32 {
    let fits = |rows: u32| {
        let span = Span { position: options.context - rows, rows };
        schedule.most_ops(span) <= options.chunk_ops
    };
    // Tiles that fewer rows leave partly empty may cost more than full ones.
    if fits(schedule.max_rows) {
        return schedule.max_rows;
    }
    let (mut least, mut most) = (1, schedule.max_rows);
    while least < most {
        let middle = least + (most - least).div_ceil(2);
        if fits(middle) { least = middle } else { most = middle - 1 }
    }
    least
}
