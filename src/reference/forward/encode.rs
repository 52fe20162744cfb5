//! A pass of an encoder, from token ids to what a decoder attends to.

use super::attention::encoded;
use super::cache::{Cache, KeysAndValues};
use super::{Chosen, Pass, Trace, check, check_chosen, normed};
use crate::model::config::{ModelConfig, Op};
use crate::model::slot::Stack;
use crate::reference::weights::{AttentionWeights, OpWeights, SubLayerWeights, Weights};
use crate::{Error, Result};

/// Feeds `ids` to the model's encoder, for a new sequence: what the cache held is gone. The trace is the encoder's, without
/// logits.
///
/// # Errors
/// [`Error::Request`] for a model without an encoder, for no ids, for one outside the vocabulary, and for more than the
/// model's context holds.
pub fn encode(config: &ModelConfig, weights: &Weights, cache: &mut Cache, ids: &[u32]) -> Result<Trace> {
    encode_pass(config, weights, cache, ids, None)
}

/// [`encode`] with experts that were chosen elsewhere, as [`forward_with_experts`](super::forward_with_experts) has them for the decoder.
///
/// # Errors
/// Those of [`encode`], and [`Error::Request`] for experts that do not fit the model or the tokens.
pub fn encode_with_experts(
    config: &ModelConfig,
    weights: &Weights,
    cache: &mut Cache,
    ids: &[u32],
    experts: &[Chosen<'_>],
) -> Result<Trace> {
    check_chosen(config, Stack::Encoder, cache, ids, experts)?;
    encode_pass(config, weights, cache, ids, Some(experts))
}

fn encode_pass(
    config: &ModelConfig,
    weights: &Weights,
    cache: &mut Cache,
    ids: &[u32],
    chosen: Option<&[Chosen<'_>]>,
) -> Result<Trace> {
    let (Some(encoder), Some(of_encoder)) = (&config.encoder, &weights.encoder) else {
        return Err(Error::Request("the model has no encoder".into()));
    };
    let conditions = cache.conditions;
    let empty = Cache::under(config, conditions);
    check(config, &empty, ids)?;
    let attentions = config.ops_of(Stack::Encoder).filter(|(_, op)| matches!(op, Op::Attention(_)));
    let mut own = vec![KeysAndValues::default(); attentions.count()];
    let pass = Pass::new(config, weights, Stack::Encoder, (0, ids), conditions, (&mut own, &[]));
    let (mut trace, _) = Pass { chosen, ..pass }.run(config, weights)?;
    let output = normed(encoder.final_norm, &of_encoder.final_norm, &trace.last_block);
    let layers = weights.blocks.iter().flatten().flat_map(cross_attentions);
    let layers = layers.map(|layer| encoded(layer, &output, config.hidden_size as usize));
    *cache = Cache { encoded: Some(layers.collect()), ..empty };
    trace.hidden.push(output);
    Ok(trace)
}

/// The cross-attention of a sub-layer and of its branches.
fn cross_attentions(layer: &SubLayerWeights) -> Vec<&AttentionWeights> {
    match &layer.op {
        OpWeights::CrossAttention(cross) => vec![cross],
        OpWeights::Parallel(branches) => branches.iter().flat_map(cross_attentions).collect(),
        OpWeights::Attention(_) | OpWeights::LatentAttention(_) | OpWeights::FeedForward(_) => Vec::new(),
        OpWeights::Experts(_) | OpWeights::LayerInput(_) => Vec::new(),
    }
}
