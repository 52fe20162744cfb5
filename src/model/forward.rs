//! The forward pass, recorded as a schedule: embedding, blocks of sub-layers, head.
//!
//! Read it beside the figure of any transformer. Prefill runs many rows at a time through tiles and
//! normalises first; decode runs one row, normalises on the way into each product and splits the cache.

mod attention;
mod choices;
mod cross_attention;
mod expert_places;
mod experts;
mod feed_forward;
mod linear;
mod options;
mod rope_tables;

pub(super) use choices::route_rule;
pub use expert_places::expert_places;
pub use options::{LogitRows, PassOptions, Sampling};
pub use rope_tables::rope_tables;

use std::sync::Arc;

use super::config::{ModelConfig, Rope};
use super::layout::{Layout, OpLayout, ProjectionLayout, SubLayerLayout, Vectors};
use super::slot::{Place, Stack};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Activate, Codec, Epilogue, Reduce};
use crate::gpu::Capabilities;
use crate::kernel::{Launch, SpanUniform};
use crate::kernels::embed::{Embed, EmbedParams};
use crate::kernels::sample_best::{SampleBest, SampleBestParams, best_bytes};
use crate::kernels::sample_pick::{SamplePick, SamplePickParams};
use crate::schedule::{Schedule, Site, TensorId};
use crate::tuning::Tuning;
use linear::Input;

/// Records one pass over the sub-layers of a layout, which must be that of `config`.
///
/// Names of its tensors: `token_ids`, `task`, `logits`, `samples`, `span`, `{at}.k_cache`, `{at}.v_cache`, with an encoder
/// `encoder_length` and `{at}.encoder_kv`,
/// `rope_table.{n}`, `expert_places.{n}`; with `trace`, `hidden.{i}`, `last_block`, `{at}.router_logits`,
/// `{at}.expert_of_slot`, `{at}.weight_of_slot`, and where choices may be dropped `{at}.place_of_slot`, where experts choose
/// `{at}.scores`, `{at}.slot_of_choice`, of an encoder `encoder.hidden.{i}` and `encoder.last_block`; and the weights' of the [`Layout`]. `{at}.` is what [`Place::name`]
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
    let rows = if options.phase == Phase::Decode { 1 } else { options.max_rows };
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
        tuning: options.tuning.clone().unwrap_or_else(|| Tuning::shipped(capabilities).into()),
    };
    pass.model()?;
    Ok(pass.schedule)
}

/// What becomes of a sub-layer's result: `(residual + post_norm(result)) * output_scale`.
#[derive(Clone, Copy)]
struct End<'a> {
    residual: Option<TensorId>,
    post_norm: Option<&'a Vectors>,
    /// Only beside a norm.
    output_scale: Option<&'a Vectors>,
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
    tuning: Arc<Tuning>,
}

impl<'a> ForwardPass<'a> {
    /// Embedding, sub-layers one after the other on the residual stream, head; of an encoder, what decoders attend to.
    fn model(&mut self) -> Result<()> {
        let mut x = self.embed()?;
        let stack = self.options.stack;
        for (block, layers) in self.blocks().iter().enumerate() {
            for (sublayer, layer) in layers.iter().enumerate() {
                self.place = Place::sublayer(block, sublayer).of(stack);
                x = self.sublayer(x, layer)?;
            }
        }
        self.place = Place::Model.of(stack);
        if stack == Stack::Encoder {
            let layout = self.layout;
            let norm = layout.encoder.as_ref().map(|encoder| &encoder.final_norm);
            return norm.map_or(Ok(()), |norm| self.encode_for_decoder(x, norm));
        }
        if self.options.logits != LogitRows::None {
            self.head(x)?;
            self.sample()?;
        }
        Ok(())
    }

    /// The blocks of the pass.
    fn blocks(&self) -> &'a [Vec<SubLayerLayout>] {
        self.layout.blocks_of(self.options.stack)
    }

    /// `(x + post_norm(op(norm(x)))) * output_scale`.
    fn sublayer(&mut self, x: TensorId, layer: &SubLayerLayout) -> Result<TensorId> {
        let end = End {
            residual: Some(x),
            post_norm: layer.post_norm.as_ref(),
            output_scale: layer.output_scale.as_ref(),
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
        let inner_end = End { residual: None, post_norm: None, output_scale: None, to: Target::Sum };
        let outer_width = std::mem::replace(&mut self.width, into.rows);
        let result = self.op(&layer.op, (inner, Input::plain(inner)), inner_end)?;
        self.width = outer_width;
        self.add("project_out", Input::plain(result), out, end)
    }

    /// `end(op(input))`; `x` is what the input is the norm of.
    fn op(&mut self, op: &OpLayout, (x, input): (TensorId, Input<'_>), end: End<'_>) -> Result<TensorId> {
        match op {
            OpLayout::Attention(attention) => self.attention(input, attention, end),
            OpLayout::CrossAttention(cross) => self.cross_attention(input, cross, end),
            OpLayout::FeedForward(ffn) => self.feed_forward(input, ffn, end),
            OpLayout::Experts(experts) => self.experts((x, input), experts, end),
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
        if self.options.phase == Phase::Prefill {
            input = self.norm_first(input)?;
        }
        let place = self.place;
        let mut sum = if end.post_norm.is_some() { None } else { end.residual };
        for (n, branch) in branches.iter().enumerate() {
            let is_last = n + 1 == branches.len() && end.post_norm.is_none();
            let to = if is_last { end.to } else { Target::Sum };
            let of_branch =
                End { residual: sum, post_norm: branch.post_norm.as_ref(), output_scale: None, to };
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

    /// `x <- scale * table[token]`, a dispatch per shard of the table.
    fn embed(&mut self) -> Result<TensorId> {
        let (table, d) = (&self.layout.embedding, self.config.hidden_size);
        let ids = self.schedule.named("token_ids", self.row_bytes(1));
        let x = self.traced("hidden.0", self.row_bytes(d));
        let variant = Embed { codec: Codec::of(table.format, self.capabilities) };
        for (n, shard) in table.shards.iter().enumerate() {
            let params = EmbedParams::new(table.format, d, shard.clone(), self.config.embedding_scale);
            let mut tensors = vec![("token_ids", ids), ("y", x)];
            tensors.extend(self.weight_tensors(table, n));
            self.dispatch("embed", Launch { variant, params }, &tensors)?;
        }
        Ok(x)
    }

    /// `logits <- softcap(scale head norm(x))`, for the last row or for all.
    fn head(&mut self, x: TensorId) -> Result<()> {
        let (head, norm) = (&self.layout.head, &self.layout.final_norm);
        let activate = match (self.config.head.softcap, self.config.head.scale) {
            (Some(_), _) => Activate::Softcap,
            (None, Some(_)) => Activate::Scaled,
            (None, None) => Activate::Identity,
        };
        let epilogue = Epilogue { activate, ..Epilogue::NONE };
        let rows = if self.options.logits == LogitRows::All { self.schedule.max_rows } else { 1 };
        let logits = self.schedule.named("logits", u64::from(rows) * u64::from(head.rows) * 4);
        let input = if self.options.trace {
            let normed = self.schedule.named(format!("hidden.{}", self.layout.blocks.len()), {
                self.row_bytes(self.config.hidden_size)
            });
            self.norm("final_norm", Input::plain(x), norm, (None, None), normed)?;
            Input::plain(normed)
        } else {
            Input::normed(x, norm)
        };
        self.project_into("head", input, head, epilogue, logits, self.options.logits == LogitRows::Last)
    }

    /// Draws a token and moves the sequence on by it.
    fn sample(&mut self) -> Result<()> {
        let Some(sampling) = self.options.sampling else { return Ok(()) };
        let (kept, gumbel) = sampling.strategy();
        let vocab_size = self.config.vocab_size;
        let logits = self.schedule.named("logits", u64::from(vocab_size) * 4);
        let best = self.schedule.activation("best", best_bytes(vocab_size, kept));
        let inverse_temperature = if sampling.temperature == 0.0 { 1.0 } else { 1.0 / sampling.temperature };
        let variant = SampleBest { kept, gumbel, reduce: Reduce::of(self.capabilities) };
        let params = SampleBestParams { vocab_size, inverse_temperature };
        self.dispatch("sample", Launch { variant, params }, &[("logits", logits), ("best", best)])?;

        let ids = self.schedule.named("token_ids", self.row_bytes(1));
        let samples = self.schedule.named("samples", u64::from(self.options.context) * 4);
        let span = self.schedule.named("span", SpanUniform::BYTES);
        let params =
            SamplePickParams { vocab_size, max_samples: self.options.context, top_p: sampling.top_p };
        let tensors = [("best", best), ("token_ids", ids), ("samples", samples), ("next_span", span)];
        let variant = SamplePick { kept, renormalize: kept == 1 || sampling.top_k > 0 };
        self.dispatch("sample", Launch { variant, params }, &tensors)
    }

    /// The tensor that a result goes to.
    fn target(&mut self, to: Target) -> TensorId {
        let bytes = self.row_bytes(self.width);
        let blocks = self.blocks();
        match (to, self.place.at()) {
            (Target::Sum, _) => self.schedule.activation("sum", bytes),
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
