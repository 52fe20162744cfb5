//! A whole forward pass of a decoder-only model, from token ids to logits.

use super::activation::{activate, gated};
use super::attention::{self, KeyValues, Mask, attention};
use super::embed::embed;
use super::matmul::matmul;
use super::moe::{Routes, combine, plan, route, weigh};
use super::norm::norm;
use super::quantize::quantize;
use super::rope::{rotate, tables};
use super::softmax::softcap;
use super::transform::transform;
use super::weights::{AttentionWeights, FeedForwardWeights, Linear, NormWeights, OpWeights, Weights};
use crate::model::config::{Attention, Experts, FeedForward, ModelConfig, Norm, Op, Routing};
use crate::{Error, Result};

/// What a forward pass computed on its way, for `T` tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// `[blocks + 1]` of `[T, d]`: the scaled embedding, the output of every block but the last, and the output of
    /// the last after the final norm.
    pub hidden: Vec<Vec<f32>>,
    /// Output of the last block before the final norm, `[T, d]`.
    pub last_block: Vec<f32>,
    /// `[T, V]`, soft-capped where the head says so.
    pub logits: Vec<f32>,
    /// One for every expert sub-layer, in order.
    pub routes: Vec<RouteTrace>,
}

/// What a router computed.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTrace {
    /// `[T, E]`, before the softmax.
    pub logits: Vec<f32>,
    /// `[T, k]`, best first.
    pub experts: Vec<u32>,
    /// `[T, k]`.
    pub weights: Vec<f32>,
    /// `k`.
    pub top_k: usize,
}

/// Keys and values of the tokens so far.
///
/// Every layer keeps all of them; a window is left to the mask.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    tokens: u32,
    layers: Vec<KeysAndValues>,
}

#[derive(Clone, Debug, Default)]
struct KeysAndValues {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Cache {
    /// A cache before the first token.
    pub fn new(config: &ModelConfig) -> Self {
        let is_attention = |op: &Op| matches!(op, Op::Attention(_));
        let layers = config.sublayers().filter(|(_, _, layer)| is_attention(&layer.op)).count();
        Self { tokens: 0, layers: vec![KeysAndValues::default(); layers] }
    }

    /// Tokens so far.
    pub fn len(&self) -> u32 {
        self.tokens
    }

    /// Whether no token has been seen.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }
}

/// Feeds `ids` to the model after the tokens in `cache`, and adds them to it.
///
/// # Errors
/// [`Error::Request`] for no ids, for one outside the vocabulary, and for more than the model's context holds.
pub fn forward(config: &ModelConfig, weights: &Weights, cache: &mut Cache, ids: &[u32]) -> Result<Trace> {
    pass(config, weights, cache, ids, None)
}

/// [`forward`] with experts that were chosen elsewhere: in the n-th expert sub-layer `experts[n]`, `[T, k]`, weighted
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
    experts: &[&[u32]],
) -> Result<Trace> {
    let layers: Vec<&Experts> = expert_layers(config).collect();
    let fits = |(layer, experts): (&&Experts, &&[u32])| {
        experts.len() == ids.len() * layer.top_k as usize && experts.iter().all(|&e| e < layer.count)
    };
    if layers.len() != experts.len() || !layers.iter().zip(experts).all(fits) {
        return Err(unfit("a choice of experts"));
    }
    pass(config, weights, cache, ids, Some(experts))
}

/// The sub-layers with experts, in order.
pub(crate) fn expert_layers(config: &ModelConfig) -> impl Iterator<Item = &Experts> {
    config.sublayers().filter_map(|(_, _, layer)| match &layer.op {
        Op::Experts(experts) => Some(experts),
        Op::Attention(_) | Op::FeedForward(_) => None,
    })
}

fn pass(
    config: &ModelConfig,
    weights: &Weights,
    cache: &mut Cache,
    ids: &[u32],
    chosen: Option<&[&[u32]]>,
) -> Result<Trace> {
    check(config, cache, ids)?;
    let d = config.hidden_size as usize;
    let positions: Vec<u32> = (0..ids.len() as u32).map(|t| cache.tokens + t).collect();
    let mut trace = Trace::default();
    let mut x = embed(&weights.embedding, d, ids, config.embedding_scale);
    let mut kv = cache.layers.iter_mut();
    for (block, weights) in config.blocks.iter().zip(&weights.blocks) {
        trace.hidden.push(x.clone());
        for (layer, weights) in block.sublayers.iter().zip(weights) {
            let input = normed(layer.norm, &weights.norm, &x);
            let output = match (&layer.op, &weights.op) {
                (Op::Attention(op), OpWeights::Attention(weights)) => {
                    let kv = kv.next().ok_or_else(|| unfit("the cache"))?;
                    attend(op, weights, kv, &positions, &input)
                }
                (Op::FeedForward(op), OpWeights::FeedForward(weights)) => feed_forward(op, weights, &input),
                (Op::Experts(op), OpWeights::Experts { router, experts }) => {
                    let logits = matmul(&input, router, None, d);
                    let chosen = chosen.map(|chosen| chosen[trace.routes.len()]);
                    let (output, route) = mix(op, experts, logits, chosen, &input);
                    trace.routes.push(route);
                    output
                }
                _ => return Err(unfit("a set of weights")),
            };
            let output = match (layer.post_norm, &weights.post_norm) {
                (Some(norm), Some(weights)) => normed(norm, weights, &output),
                _ => output,
            };
            x.iter_mut().zip(output).for_each(|(x, output)| *x += output);
        }
    }
    let last = normed(config.final_norm, &weights.final_norm, &x);
    trace.logits = linear(&weights.head, &last, d);
    trace.logits.iter_mut().for_each(|logit| *logit = softcap(config.head.softcap, *logit));
    trace.hidden.push(last);
    trace.last_block = x;
    cache.tokens += ids.len() as u32;
    Ok(trace)
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

fn attend(
    op: &Attention,
    weights: &AttentionWeights,
    kv: &mut KeysAndValues,
    positions: &[u32],
    x: &[f32],
) -> Vec<f32> {
    let d = x.len() / positions.len();
    let (heads, kv_heads, h) = (op.heads as usize, op.kv_heads as usize, op.head_dim as usize);
    let (mut q, mut k) = (linear(&weights.q, x, d), linear(&weights.k, x, d));
    if let (Some(norm), Some(q_norm), Some(k_norm)) = (op.qk_norm, &weights.q_norm, &weights.k_norm) {
        (q, k) = (normed(norm, q_norm, &q), normed(norm, k_norm, &k));
    }
    if let Some(rope) = &op.rope {
        let (cos, sin) = tables(rope, positions);
        rotate(rope, &mut q, heads, h, &cos, &sin);
        rotate(rope, &mut k, kv_heads, h, &cos, &sin);
    }
    kv.keys.extend(k);
    kv.values.extend(linear(&weights.v, x, d));
    let key_positions: Vec<u32> = (0..(kv.keys.len() / (kv_heads * h)) as u32).collect();
    let layer = attention::Attention {
        heads,
        kv_heads,
        head_dim: h,
        scale: op.scale,
        softcap: op.softcap,
        mask: Mask { causal: true, window: op.window },
    };
    let kv = KeyValues { keys: &kv.keys, values: &kv.values, positions: &key_positions };
    linear(&weights.out, &attention(&layer, &q, positions, kv), heads * h)
}

fn feed_forward(op: &FeedForward, weights: &FeedForwardWeights, x: &[f32]) -> Vec<f32> {
    let d = weights.up.weight.len() / op.hidden as usize;
    let up = linear(&weights.up, x, d);
    let inner = match &weights.gate {
        Some(gate) => gated(op.activation, &linear(gate, x, d), &up),
        None => up.iter().map(|&x| activate(op.activation, x)).collect(),
    };
    linear(&weights.down, &inner, op.hidden as usize)
}

/// The experts' outputs for `x`, weighted and summed as the router's `logits` say; experts that are given replace
/// the router's choice, which is recorded all the same.
fn mix(
    op: &Experts,
    experts: &[FeedForwardWeights],
    logits: Vec<f32>,
    given: Option<&[u32]>,
    x: &[f32],
) -> (Vec<f32>, RouteTrace) {
    let (count, top_k) = (op.count as usize, op.top_k as usize);
    let d = x.len() / (logits.len() / count);
    let Routing::SoftmaxTopk { renormalize } = op.routing;
    let own = route(&logits, count, top_k, renormalize);
    let routes = match given {
        Some(given) => {
            Routes { experts: given.to_vec(), weights: weigh(&logits, count, given, top_k, renormalize) }
        }
        None => own.clone(),
    };
    let plan = plan(&routes.experts, count, top_k);
    let mut outputs = Vec::with_capacity(plan.tokens.len() * d);
    for (weights, slots) in experts.iter().zip(plan.offsets.windows(2)) {
        for &token in &plan.tokens[slots[0] as usize..slots[1] as usize] {
            outputs.extend(feed_forward(&op.expert, weights, &x[token as usize * d..][..d]));
        }
    }
    let y = combine(&outputs, &plan.slots, &routes.weights, top_k, d);
    (y, RouteTrace { logits, experts: own.experts, weights: own.weights, top_k })
}
