//! A whole forward pass: of a decoder, from token ids to logits, or of an encoder, from token ids to what a decoder attends to.

mod attention;
mod cache;
mod encode;
mod experts;
mod latent_attention;
mod routes;
mod streams;

pub use cache::{Cache, Conditions};
pub use encode::{encode, encode_with_experts};
pub use routes::RouteTrace;
pub(crate) use routes::{routed_layers, routed_layers_of};

use super::activation::{activate, clamped_gated, gated};
use super::attention::ScoreBias;
use super::embed::{add_positions, embed};
use super::matmul::matmul;
use super::moe::Chosen;
use super::norm::norm;
use super::quantize::quantize;
use super::softmax::softcap;
use super::sparse_gate::{normal_quantile, sparse_gate};
use super::transform::transform;
use super::weights::{
    FeedForwardWeights, Linear, NormWeights, OpWeights, ProjectionWeights, SubLayerWeights, Weights,
};
use crate::model::config::{FeedForward, Head, ModelConfig, Norm, Op, SubLayer};
use crate::model::slot::{Place, Stack};
use crate::quant::mix;
use crate::{Error, Result};
use attention::{attend, attend_across};
use cache::{KeysAndValues, caches_read};
use latent_attention::attend_latents;
use routes::{check_chosen, expert_layers};
use streams::OnStreams;

/// What a forward pass computed on its way, for `T` tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// `[blocks + 1]` of `[T, d]`: the scaled embedding with its position, the output of every block but the last, and the output of
    /// the last after the final norm. Of several residual streams `[T, A, d]`, and the last before they are joined and normed.
    pub hidden: Vec<Vec<f32>>,
    /// Output of the last block before the final norm, `[T, d]`, or `[T, A, d]`.
    pub last_block: Vec<f32>,
    /// `[T, V]`, scaled and soft-capped where the head says so; none of an encoder.
    pub logits: Vec<f32>,
    /// One for every expert sub-layer where each token chooses for itself, in order.
    pub routes: Vec<RouteTrace>,
}

/// Feeds `ids` to the model after the tokens in `cache`, and adds them to it.
///
/// # Errors
/// [`Error::Request`] for no ids, for one outside the vocabulary, and for more than the model's context holds.
pub fn forward(config: &ModelConfig, weights: &Weights, cache: &mut Cache, ids: &[u32]) -> Result<Trace> {
    pass(config, weights, cache, ids, None)
}

/// [`forward`] with experts that were chosen elsewhere: in the n-th expert sub-layer `experts[n]`, of `T` tokens, weighted
/// by the logits computed here. The trace's routes say what would have been chosen here after those before.
///
/// Where a router is all but undecided, rounding decides, and everything after it differs; this is how to compare
/// the rest.
///
/// # Errors
/// Those of [`forward`], and [`Error::Request`] for experts that do not fit the model or the tokens.
pub fn forward_with_experts(
    config: &ModelConfig,
    weights: &Weights,
    cache: &mut Cache,
    ids: &[u32],
    experts: &[Chosen<'_>],
) -> Result<Trace> {
    check_chosen(config, Stack::Decoder, cache, ids, experts)?;
    pass(config, weights, cache, ids, Some(experts))
}

fn pass(
    config: &ModelConfig,
    weights: &Weights,
    cache: &mut Cache,
    ids: &[u32],
    chosen: Option<&[Chosen<'_>]>,
) -> Result<Trace> {
    check(config, cache, ids)?;
    if config.encoder.is_some() && cache.encoded.is_none() {
        return Err(Error::Request("there is nothing to attend to: the encoder has read nothing yet".into()));
    }
    let d = config.hidden_size as usize;
    let kv = (&mut cache.layers[..], cache.encoded.as_deref().unwrap_or(&[]));
    let pass = Pass::new(config, weights, Stack::Decoder, (cache.tokens, ids), cache.conditions, kv);
    let (mut trace, last) = Pass { chosen, ..pass }.run(config, weights)?;
    let last = normed(config.final_norm, &weights.final_norm, &last);
    trace.logits = linear(&weights.head, &last, d);
    let Head { scale, softcap: cap, .. } = config.head;
    trace.logits.iter_mut().for_each(|logit| *logit = softcap(cap, scale * *logit));
    trace.hidden.push(if config.streams.is_some() { trace.last_block.clone() } else { last });
    cache.tokens += ids.len() as u32;
    Ok(trace)
}

/// What sub-layers share.
struct Pass<'a> {
    stack: Stack,
    ids: &'a [u32],
    positions: Vec<u32>,
    conditions: Conditions,
    /// Of the expert sub-layers that are to come.
    places: std::vec::IntoIter<Place>,
    /// The caches that the attention sub-layers to come read.
    caches_read: std::vec::IntoIter<usize>,
    kv: &'a mut [KeysAndValues],
    /// Of what an encoder gave, for the cross-attention that is to come.
    encoded: std::slice::Iter<'a, KeysAndValues>,
    bias: Option<ScoreBias<'a>>,
    /// What the sub-layers to come read that have embeddings of their own, `[T, p]` each.
    layer_inputs: std::vec::IntoIter<Vec<f32>>,
    chosen: Option<&'a [Chosen<'a>]>,
    routes: Vec<RouteTrace>,
    /// Sums that were moved by roundings.
    shaken: u64,
}

impl<'a> Pass<'a> {
    fn new(
        config: &ModelConfig,
        weights: &'a Weights,
        stack: Stack,
        (before, ids): (u32, &'a [u32]),
        conditions: Conditions,
        (kv, encoded): (&'a mut [KeysAndValues], &'a [KeysAndValues]),
    ) -> Self {
        let table = match stack {
            Stack::Decoder => weights.relative_bias.as_deref(),
            Stack::Encoder => weights.encoder.as_ref().and_then(|encoder| encoder.relative_bias.as_deref()),
        };
        let bias = config.relative_bias_of(stack).zip(table);
        let both_ways = stack == Stack::Encoder;
        let places: Vec<Place> = expert_layers(config, stack).map(|(place, _)| place).collect();
        Self {
            stack,
            ids,
            positions: (0..ids.len() as u32).map(|t| before + t).collect(),
            conditions,
            places: places.into_iter(),
            caches_read: caches_read(config, stack).into_iter(),
            kv,
            encoded: encoded.iter(),
            bias: bias.map(|(relative, table)| ScoreBias { relative, both_ways, table }),
            layer_inputs: Vec::new().into_iter(),
            chosen: None,
            routes: Vec::new(),
            shaken: 0,
        }
    }

    /// Moves every number by a unit in the last place, up or down as a hash says of the draw, of how many sums came before and of the
    /// number's place; draw 0 moves none.
    fn shake(&mut self, x: &mut [f32]) {
        if self.conditions.shaken == 0 {
            return;
        }
        let key = mix(u64::from(self.conditions.shaken) << 32 | self.shaken);
        self.shaken += 1;
        for (at, x) in (0u64..).zip(x) {
            *x = if mix(key.wrapping_add(at)) >> 63 == 0 { x.next_up() } else { x.next_down() };
        }
    }

    /// The blocks, up to the last one's output, and what its norm reads.
    fn run(mut self, config: &ModelConfig, weights: &Weights) -> Result<(Trace, Vec<f32>)> {
        let d = config.hidden_size as usize;
        let mut trace = Trace::default();
        let mut x = embed(&weights.embedding, d, self.ids, config.embedding_scale);
        if let Some(table) = &weights.positions {
            add_positions(&mut x, table, d, &self.positions);
        }
        self.shake(&mut x);
        self.layer_inputs = embed_layers(config, weights, self.ids, &x).into_iter();
        if let Some(streams) = config.streams {
            let on_streams = OnStreams::new(streams, weights)?;
            let mut all = on_streams.start(&x);
            for (block, (layers, weights)) in config.blocks.iter().zip(&weights.blocks).enumerate() {
                trace.hidden.push(all.clone());
                all = on_streams.block(block, &mut self, (&layers.sublayers, weights), &all)?;
            }
            (trace.routes, trace.last_block) = (self.routes, all);
            let joined = on_streams.join(&trace.last_block);
            return Ok((trace, joined));
        }
        let stored = match self.stack {
            Stack::Decoder => &weights.blocks[..],
            Stack::Encoder => weights.encoder.as_ref().map_or(&[][..], |encoder| &encoder.blocks),
        };
        for (block, weights) in config.blocks_of(self.stack).iter().zip(stored) {
            trace.hidden.push(x.clone());
            for (layer, weights) in block.sublayers.iter().zip(weights) {
                self.onto(layer, weights, &mut x)?;
            }
        }
        (trace.routes, trace.last_block) = (self.routes, x.clone());
        Ok((trace, x))
    }

    /// `x <- (x + sublayer(x)) scale factor`.
    fn onto(&mut self, layer: &SubLayer, weights: &SubLayerWeights, x: &mut [f32]) -> Result<()> {
        let output = self.sublayer(layer, weights, x, None)?;
        let scale = weights.output_scale.unwrap_or(1.0) * layer.output_factor.unwrap_or(1.0);
        x.iter_mut().zip(output).for_each(|(x, output)| *x = (*x + output) * scale);
        self.shake(x);
        Ok(())
    }

    /// `post_norm(op(norm(x)))`; without a norm of its own, a branch reads `input`. With a width of its own, `op` has
    /// projections before and after it.
    fn sublayer(
        &mut self,
        layer: &SubLayer,
        weights: &SubLayerWeights,
        x: &[f32],
        input: Option<&[f32]>,
    ) -> Result<Vec<f32>> {
        let input = match (layer.norm, &weights.norm) {
            (Some(norm), Some(weights)) => normed(norm, weights, x),
            _ => input.unwrap_or(x).to_vec(),
        };
        let output = match (layer.width, &weights.projections) {
            (None, None) => self.op(&layer.op, &weights.op, x, &input)?,
            (Some(width), Some(ProjectionWeights { into, out })) => {
                let inner = linear(into, &input, x.len() / self.ids.len());
                linear(out, &self.op(&layer.op, &weights.op, &inner, &inner)?, width as usize)
            }
            _ => return Err(unfit("a set of weights")),
        };
        let mut output = match (layer.post_norm, &weights.post_norm) {
            (Some(norm), Some(weights)) => normed(norm, weights, &output),
            _ => output,
        };
        if layer.keep_input {
            output.iter_mut().zip(&input).for_each(|(output, input)| *output += input);
        }
        Ok(output)
    }

    /// `op(input)`; `x` is what the input is the norm of.
    fn op(&mut self, op: &Op, weights: &OpWeights, x: &[f32], input: &[f32]) -> Result<Vec<f32>> {
        Ok(match (op, weights) {
            (Op::Attention(op), OpWeights::Attention(weights)) => {
                let cache = self.caches_read.next().and_then(|at| self.kv.get_mut(at));
                let kv = cache.ok_or_else(|| unfit("the cache"))?;
                attend(op, weights, kv, (&self.positions, self.conditions), self.bias, input)
            }
            (Op::CrossAttention(op), OpWeights::CrossAttention(weights)) => {
                let kv = self.encoded.next().ok_or_else(|| unfit("the cache"))?;
                attend_across(op, weights, kv, &self.positions, input)
            }
            (Op::LatentAttention(op), OpWeights::LatentAttention(weights)) => {
                let cache = self.caches_read.next().and_then(|at| self.kv.get_mut(at));
                let kv = cache.ok_or_else(|| unfit("the cache"))?;
                attend_latents(op, weights, kv, (&self.positions, self.conditions), input)
            }
            (Op::FeedForward(op), OpWeights::FeedForward(weights)) => feed_forward(op, weights, input),
            (Op::Experts(op), OpWeights::Experts(weights)) => self.experts(op, weights, x, input)?,
            (Op::LayerInput(op), OpWeights::LayerInput(weights)) => {
                let embedding = self.layer_inputs.next().ok_or_else(|| unfit("a set of weights"))?;
                let gate = linear(&weights.gate, input, input.len() / self.ids.len());
                let gated = gated(op.activation, &gate, &embedding);
                linear(&weights.projection, &gated, gated.len() / self.ids.len())
            }
            (Op::Parallel(branches), OpWeights::Parallel(weights)) => {
                let mut sum = vec![0.0; x.len()];
                for (branch, weights) in branches.iter().zip(weights) {
                    let output = self.sublayer(branch, weights, x, Some(input))?;
                    sum.iter_mut().zip(output).for_each(|(sum, output)| *sum += output);
                }
                sum
            }
            _ => return Err(unfit("a set of weights")),
        })
    }
}

/// Every layer's own embedding, `L` of `[T, p]`: [`LayerInputs`](crate::model::config::LayerInputs).
fn embed_layers(config: &ModelConfig, weights: &Weights, ids: &[u32], x: &[f32]) -> Vec<Vec<f32>> {
    let (Some(inputs), Some(weights)) = (config.layer_inputs, &weights.layer_inputs) else {
        return Vec::new();
    };
    let (p, all) = (inputs.width as usize, weights.table.len() / inputs.vocab_size as usize);
    let in_table: Vec<u32> = ids.iter().map(|&id| if id < inputs.vocab_size { id } else { 0 }).collect();
    let looked_up = embed(&weights.table, all, &in_table, inputs.embedding_scale);
    let projected = linear(&weights.projection, x, x.len() / ids.len());
    let mut sums = normed(inputs.norm, &weights.norm, &projected);
    sums.iter_mut().zip(looked_up).for_each(|(sum, embedding)| *sum += embedding);
    let layer = |n: usize| sums.chunks_exact(all).flat_map(|row| &row[n * p..(n + 1) * p]).copied().collect();
    (0..all / p).map(layer).collect()
}

fn check(config: &ModelConfig, cache: &Cache, ids: &[u32]) -> Result<()> {
    if let Some(id) = ids.iter().find(|&&id| id >= config.vocab_size) {
        return Err(Error::Request(format!("token {id} is outside the vocabulary of {}", config.vocab_size)));
    }
    let room = config.context_length.saturating_sub(cache.tokens) as usize;
    if ids.is_empty() || ids.len() > room {
        return Err(Error::Request(format!("{} tokens to add, expected 1 to {room}", ids.len())));
    }
    Ok(())
}

fn unfit(what: &str) -> Error {
    Error::Request(format!("{what} was made for another model"))
}

fn normed(config: Norm, weights: &NormWeights, x: &[f32]) -> Vec<f32> {
    norm(config, x, &weights.weight, weights.bias.as_deref())
}

fn linear(weights: &Linear, x: &[f32], in_features: usize) -> Vec<f32> {
    let mut input = weights.transform.as_ref().map(|by| transform(x, &by.delta, &by.s));
    if weights.in_i8 {
        let blocks = input.as_deref().unwrap_or(x).chunks(in_features).flat_map(quantize);
        input = Some(blocks.flat_map(|block| block.values().collect::<Vec<_>>()).collect());
    }
    matmul(input.as_deref().unwrap_or(x), &weights.weight, weights.bias.as_deref(), in_features)
}

fn feed_forward(op: &FeedForward, weights: &FeedForwardWeights, x: &[f32]) -> Vec<f32> {
    let d = weights.up.weight.len() / op.hidden as usize;
    let up = linear(&weights.up, x, d);
    let gate = weights.gate.as_ref().map(|gate| {
        let gate = linear(gate, x, d);
        let deviations = op.sparsity.map(|share| normal_quantile(share.into()) as f32);
        deviations.map_or(gate.clone(), |deviations| sparse_gate(&gate, op.hidden as usize, deviations))
    });
    let inner = match (gate, op.clamp) {
        (Some(gate), Some(clamp)) => clamped_gated(clamp, &gate, &up),
        (Some(gate), None) => gated(op.activation, &gate, &up),
        (None, _) => up.iter().map(|&x| activate(op.activation, x)).collect(),
    };
    linear(&weights.down, &inner, op.hidden as usize)
}
