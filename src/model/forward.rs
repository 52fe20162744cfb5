//! The forward pass, recorded as a schedule: embedding, blocks of sub-layers, head.
//!
//! Read it beside the figure of any transformer. Prefill runs many rows at a time through tiles and
//! normalises first; a step of one sequence runs one row, normalises on the way into each product and splits the cache. A step of
//! more normalises first, and of more than a few plans which experts compute what, as a prompt does.

mod attention;
mod choices;
mod cross_attention;
mod expert_places;
mod experts;
mod feed_forward;
mod latent_attention;
mod layer_input;
mod linear;
mod options;
mod rope_tables;
mod streams;

pub(super) use choices::route_rule;
pub use expert_places::expert_places;
pub use options::{LogitRows, Paging, PassOptions, Sampling, TokenGroups};
pub use rope_tables::rope_tables;

use std::collections::HashMap;
use std::sync::Arc;

use super::config::{ModelConfig, Op, Rope};
use super::layout::{Layout, Matrix, OpLayout, ProjectionLayout, SubLayerLayout, Vectors};
use super::slot::{Place, Stack, SubLayerPlace};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Activate, Codec, Epilogue, Reduce, TokenIds};
use crate::gpu::Capabilities;
use crate::kernel::{Launch, SPAN_BYTES};
use crate::kernels::embed::{Embed, EmbedBy, EmbedParams};
use crate::kernels::sample_best::{SampleBest, SampleBestParams, best_bytes};
use crate::kernels::sample_pick::{SamplePick, SamplePickParams};
use crate::schedule::{Schedule, Site, TensorId};
use crate::tuning::Tuning;
use linear::{Input, NormEnd};

/// Records one pass over the sub-layers of a layout, which must be that of `config`.
///
/// Names of its tensors: `token_ids`, `next_ids`, `logits`, `samples`, `span`, `page_table`, `{at}.k_cache`, `{at}.v_cache`, with an
/// encoder `encoder_length` and `{at}.encoder_kv`,
/// `rope_table.{n}`, `expert_places.{n}`; with `trace`, `hidden.{i}`, `last_block`, `{at}.router_logits`,
/// `{at}.expert_of_slot`, `{at}.weight_of_slot`, and where choices may be dropped `{at}.place_of_slot`, where experts choose
/// `{at}.scores`, `{at}.slot_of_choice`, of an encoder `encoder.hidden.{i}` and `encoder.last_block`; `hidden.{i}` and `last_block` hold
/// all streams where there are several; and the weights' of the [`Layout`]. `{at}.` is what [`Place::name`]
/// puts before the names of a sub-layer.
///
/// # Errors
/// [`crate::Error::Shape`] should a kernel be given what it cannot take.
pub fn record(
    config: &ModelConfig,
    layout: &Layout,
    capabilities: &Capabilities,
    options: &PassOptions,
) -> Result<Schedule> {
    let rows = match options.phase {
        Phase::Prefill => options.max_rows,
        Phase::Decode => options.max_rows.min(options.sequences),
    };
    let mut pass = ForwardPass {
        config,
        layout,
        capabilities,
        options,
        schedule: Schedule { phase: options.phase, ..Schedule::new(rows) },
        rope_tables: rope_tables(config),
        expert_places: expert_places(layout),
        place: Place::Model.of(options.stack),
        width: config.hidden_size,
        layer_inputs: None,
        chunks: HashMap::new(),
        last_readers: last_readers(config),
        tuning: options.tuning.clone().unwrap_or_else(|| Tuning::shipped(capabilities).into()),
    };
    pass.model()?;
    Ok(pass.schedule)
}

/// What becomes of a sub-layer's result: `after(residual + post_norm(result))`.
#[derive(Clone, Copy)]
struct End<'a> {
    residual: Option<TensorId>,
    post_norm: Option<&'a Vectors>,
    /// Only beside a norm.
    after: NormEnd<'a>,
    to: Target,
}

/// Where a result goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// On along the residual stream.
    Stream,
    /// To what is added up or projected within the sub-layer, as wide as it computes.
    Sum,
}

/// For each attention whose keys and values others see, the last of those: until it has, the cache must hold what it held before
/// the pass, and the pass's own keys stay where they are.
fn last_readers(config: &ModelConfig) -> HashMap<SubLayerPlace, SubLayerPlace> {
    let readers = config.ops().filter_map(|(place, op)| match op {
        Op::Attention(attention) => attention.kv_from.zip(place.at()),
        _ => None,
    });
    readers.collect()
}

struct ForwardPass<'a> {
    config: &'a ModelConfig,
    layout: &'a Layout,
    capabilities: &'a Capabilities,
    options: &'a PassOptions,
    schedule: Schedule,
    rope_tables: Vec<(String, Rope)>,
    expert_places: Vec<(String, Vec<u32>)>,
    /// The sub-layer at hand, or the model as a whole.
    place: Place,
    /// Width at which it computes: the residual stream's or its own.
    width: u32,
    /// Every layer's own embedding, where there are any.
    layer_inputs: Option<TensorId>,
    /// This pass's keys and values of attention whose cache others read, too.
    chunks: HashMap<SubLayerPlace, [TensorId; 2]>,
    /// The last attention that reads the cache of each such attention.
    last_readers: HashMap<SubLayerPlace, SubLayerPlace>,
    tuning: Arc<Tuning>,
}

impl<'a> ForwardPass<'a> {
    /// Embedding, sub-layers one after the other on the residual stream, head; of an encoder, what decoders attend to.
    fn model(&mut self) -> Result<()> {
        let mut x = self.embed()?;
        if self.options.stack == Stack::Encoder {
            x = self.blocks(x)?;
            let layout = self.layout;
            let norm = layout.encoder.as_ref().map(|encoder| &encoder.final_norm);
            return norm.map_or(Ok(()), |norm| self.encode_for_decoder(x, norm));
        }
        self.layer_inputs = self.embed_layers(x)?;
        x = match &self.layout.streams {
            Some(streams) => self.blocks_on_streams(x, streams)?,
            None => self.blocks(x)?,
        };
        if let (Some(streams), true) = (&self.layout.streams, self.options.logits != LogitRows::None) {
            x = self.join_streams(x, streams)?;
        }
        if self.options.logits != LogitRows::None {
            self.head(x)?;
            self.sample()?;
        }
        Ok(())
    }

    /// All blocks of the pass, on one residual stream.
    fn blocks(&mut self, mut x: TensorId) -> Result<TensorId> {
        let (layout, stack) = (self.layout, self.options.stack);
        for (block, layers) in layout.blocks_of(stack).iter().enumerate() {
            for (sublayer, layer) in layers.iter().enumerate() {
                self.place = Place::sublayer(block, sublayer).of(stack);
                x = self.sublayer(x, layer)?;
            }
        }
        self.place = Place::Model.of(stack);
        Ok(x)
    }

    /// `(x + post_norm(op(norm(x)))) * output_scale`.
    fn sublayer(&mut self, x: TensorId, layer: &SubLayerLayout) -> Result<TensorId> {
        let end = End {
            residual: Some(x),
            post_norm: layer.post_norm.as_ref(),
            after: NormEnd { kept: None, scale: layer.output_scale.as_ref(), factor: layer.output_factor },
            to: Target::Stream,
        };
        self.of_width(layer, (x, Input::of(x, layer.norm.as_ref())), end)
    }

    /// `end(op(input))`, with projections before and after an operation of another width; `x` is what the input is the norm
    /// of.
    fn of_width(
        &mut self,
        layer: &SubLayerLayout,
        (x, input): (TensorId, Input<'_>),
        end: End<'_>,
    ) -> Result<TensorId> {
        let Some(ProjectionLayout { into, out }) = &layer.projections else {
            return self.op(&layer.op, (x, input), end);
        };
        let inner = self.project("project_in", input, into, Epilogue::NONE)?;
        let inner_end = End { residual: None, post_norm: None, after: NormEnd::NONE, to: Target::Sum };
        let outer_width = std::mem::replace(&mut self.width, into.rows);
        let result = self.op(&layer.op, (inner, Input::plain(inner)), inner_end)?;
        self.width = outer_width;
        self.add("project_out", Input::plain(result), out, end)
    }

    /// `end(op(input))`; `x` is what the input is the norm of.
    fn op(&mut self, op: &OpLayout, (x, input): (TensorId, Input<'_>), end: End<'_>) -> Result<TensorId> {
        match op {
            OpLayout::Attention(attention) => self.attention(input, attention, end),
            OpLayout::LatentAttention(attention) => self.latent_attention(input, attention, end),
            OpLayout::CrossAttention(cross) => self.cross_attention(input, cross, end),
            OpLayout::FeedForward(ffn) => self.feed_forward(input, ffn, end),
            OpLayout::Experts(experts) => self.experts((x, input), experts, end),
            OpLayout::LayerInput(layer) => self.layer_input(input, layer, end),
            OpLayout::Parallel(branches) => self.parallel((x, input), branches, end),
        }
    }

    /// `end(sum of branches)`, where every branch reads the input, or a norm of its own of `x`. Without a norm after the sum,
    /// each branch adds to what was before it.
    fn parallel(
        &mut self,
        (x, mut input): (TensorId, Input<'_>),
        branches: &[SubLayerLayout],
        end: End<'_>,
    ) -> Result<TensorId> {
        if !self.is_one_row() || branches.iter().any(|branch| branch.keep_input) {
            input = self.norm_first(input)?;
        }
        let place = self.place;
        let mut sum = if end.post_norm.is_some() { None } else { end.residual };
        for (n, branch) in branches.iter().enumerate() {
            let is_last = n + 1 == branches.len() && end.post_norm.is_none();
            let to = if is_last { end.to } else { Target::Sum };
            let kept = branch.keep_input.then_some(input.tensor);
            let factor = if is_last { end.after.factor } else { 1.0 };
            let after = NormEnd { kept, scale: None, factor };
            let of_branch = End { residual: sum, post_norm: branch.post_norm.as_ref(), after, to };
            let own = branch.norm.as_ref().map(|norm| Input::normed(x, norm));
            self.place = place.branch(n);
            sum = Some(self.of_width(branch, (x, own.unwrap_or(input)), of_branch)?);
        }
        self.place = place;
        match (end.post_norm, sum) {
            (Some(norm), Some(sum)) => self.end_with_norm(sum, norm, end),
            (_, sum) => Ok(sum.unwrap_or(x)),
        }
    }

    /// `x <- scale * table[token] + positions[position]`.
    fn embed(&mut self) -> Result<TensorId> {
        let bytes = self.row_bytes(self.config.hidden_size);
        let x = match self.layout.streams {
            Some(_) => self.schedule.activation("embedded", bytes),
            None => self.traced("hidden.0", bytes),
        };
        self.embed_rows("embed", (&self.layout.embedding, self.config.embedding_scale), x)?;
        if let Some(table) = &self.layout.positions {
            let variant = Embed { codec: Codec::F32, by: EmbedBy::Position };
            for (n, shard) in table.shards.iter().enumerate() {
                let params = EmbedParams::new(table.format, [table.rows, table.cols], shard.clone(), 1.0);
                let tensors = [vec![("y", x)], self.weight_tensors(table, n)].concat();
                self.dispatch("positions", Launch { variant, params }, &tensors)?;
            }
        }
        Ok(x)
    }

    /// `y <- scale * table[token]`, a dispatch per shard of the table.
    fn embed_rows(&mut self, what: &'static str, (table, scale): (&Matrix, f32), y: TensorId) -> Result<()> {
        let (source, ids) = self.token_ids();
        let variant = Embed { codec: Codec::of(table.format, self.capabilities), by: EmbedBy::Token(source) };
        for (n, shard) in table.shards.iter().enumerate() {
            let params = EmbedParams::new(table.format, [table.rows, table.cols], shard.clone(), scale);
            let mut tensors = vec![("token_ids", ids), ("y", y)];
            tensors.extend(self.weight_tensors(table, n));
            self.dispatch(what, Launch { variant, params }, &tensors)?;
        }
        Ok(())
    }

    /// `logits <- softcap(scale * head norm(x))`, for the last row of each sequence or for all.
    fn head(&mut self, x: TensorId) -> Result<()> {
        let (head, norm) = (&self.layout.head, &self.layout.final_norm);
        let activate = match (self.config.head.softcap, self.config.head.scale) {
            (Some(_), _) => Activate::Softcap,
            (None, 1.0) => Activate::Identity,
            (None, _) => Activate::Scale,
        };
        let epilogue = Epilogue { activate, ..Epilogue::NONE };
        let rows = if self.options.logits == LogitRows::All {
            self.schedule.max_rows
        } else {
            self.options.sequences
        };
        let logits = self.schedule.named("logits", u64::from(rows) * u64::from(head.rows) * 4);
        let input = if self.options.trace && self.layout.streams.is_none() {
            let normed = self.schedule.named(format!("hidden.{}", self.layout.blocks.len()), {
                self.row_bytes(self.config.hidden_size)
            });
            self.norm("final_norm", Input::plain(x), norm, (None, NormEnd::NONE), normed)?;
            Input::plain(normed)
        } else {
            Input::normed(x, norm)
        };
        // A step of decoding has no other rows.
        let last = self.options.logits == LogitRows::Last && self.options.phase == Phase::Prefill;
        self.project_into("head", input, head, epilogue, logits, last)
    }

    /// Draws a token of each sequence and moves it on by that.
    fn sample(&mut self) -> Result<()> {
        let Some(sampling) = self.options.sampling else { return Ok(()) };
        let (kept, gumbel) = sampling.strategy();
        let vocab_size = self.config.vocab_size;
        let sequences = u64::from(self.options.sequences);
        let logits = self.schedule.named("logits", sequences * u64::from(vocab_size) * 4);
        let best = self.schedule.activation("best", sequences * best_bytes(vocab_size, kept));
        let inverse_temperature = if sampling.temperature == 0.0 { 1.0 } else { 1.0 / sampling.temperature };
        let variant = SampleBest { kept, gumbel, reduce: Reduce::of(self.capabilities) };
        let params = SampleBestParams { vocab_size, inverse_temperature };
        self.dispatch("sample", Launch { variant, params }, &[("logits", logits), ("best", best)])?;

        let ids = self.schedule.named("next_ids", sequences * 4);
        let samples = self.schedule.named("samples", sequences * u64::from(self.options.context) * 4);
        let span = self.schedule.named("span", SPAN_BYTES);
        let params =
            SamplePickParams { vocab_size, max_samples: self.options.context, top_p: sampling.top_p };
        let tensors = [("best", best), ("token_ids", ids), ("samples", samples), ("next_span", span)];
        let variant = SamplePick { kept, renormalize: kept == 1 || sampling.top_k > 0 };
        self.dispatch("sample", Launch { variant, params }, &tensors)
    }

    /// The tokens of the call, and where each row finds its own.
    fn token_ids(&mut self) -> (TokenIds, TensorId) {
        match self.options.phase {
            Phase::Prefill => (TokenIds::ByRow, self.schedule.named("token_ids", self.row_bytes(1))),
            Phase::Decode => {
                let bytes = u64::from(self.options.sequences) * 4;
                (TokenIds::BySequence, self.schedule.named("next_ids", bytes))
            }
        }
    }

    /// Whether a pass is a step of one sequence: a single row, which can afford to be normed again in each workgroup that
    /// reads it.
    fn is_one_row(&self) -> bool {
        self.options.phase == Phase::Decode && self.schedule.max_rows == 1
    }

    /// Whether tokens compete for experts. One token of each sequence does not, unless the batch is asked to.
    fn tokens_compete(&self) -> bool {
        let is_batch = self.options.token_groups == TokenGroups::Batch && self.schedule.max_rows > 1;
        self.options.phase == Phase::Prefill || is_batch
    }

    /// The tensor that a result goes to.
    fn target(&mut self, to: Target) -> TensorId {
        let bytes = self.row_bytes(self.width);
        let blocks = self.layout.blocks_of(self.options.stack);
        match (to, self.place.at()) {
            (Target::Sum, _) => self.schedule.activation("sum", bytes),
            (Target::Stream, _) if self.layout.streams.is_some() => self.schedule.activation("x", bytes),
            (Target::Stream, Some(at)) if at.sublayer + 1 < blocks[at.block].len() => {
                self.schedule.activation("x", bytes)
            }
            (Target::Stream, Some(at)) if at.block + 1 < blocks.len() => {
                self.traced(&format!("hidden.{}", at.block + 1), bytes)
            }
            (Target::Stream, _) => self.traced("last_block", bytes),
        }
    }

    /// A tensor that stays when the pass is traced; of an encoder's, those that have no place in their name are told apart.
    fn traced(&mut self, name: &str, bytes: u64) -> TensorId {
        let name = match (self.options.stack, name.starts_with("encoder.")) {
            (Stack::Encoder, false) => &format!("encoder.{name}"),
            _ => name,
        };
        if self.options.trace {
            self.schedule.named(name, bytes)
        } else {
            self.schedule.activation(name, bytes)
        }
    }

    /// Bytes of `width` elements for every row.
    fn row_bytes(&self, width: u32) -> u64 {
        u64::from(self.schedule.max_rows) * u64::from(width) * 4
    }

    /// The step `what` of the sub-layer at hand.
    fn site(&self, what: &'static str) -> Site {
        Site { sublayer: self.place.at().map(|at| (at.block as u32, at.sublayer as u32)), what }
    }

    fn dispatch<K: crate::kernel::Kernel>(
        &mut self,
        what: &'static str,
        launch: Launch<K>,
        tensors: &[(&'static str, TensorId)],
    ) -> Result<()> {
        self.schedule.dispatch(self.site(what), launch.shared(), tensors)
    }
}
