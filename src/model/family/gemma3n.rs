//! Gemma 3n's text model: several residual streams with alternating updates, a low-rank branch beside attention, gates of which only
//! the largest take part in the first layers, embeddings of each layer, and last layers that see the keys of earlier ones.

use super::decoder::{Decoder, Defaults};
use super::keys::{Keys, NotNegative, OneOrEach, Whole};
use super::layers::{LayerType, layer_types, window};
use super::{gemma, gemma3, gemma4, small_gemma};
use crate::Result;
use crate::model::config::{
    Activation, Attention, Block, FeedForward, ModelConfig, Norm, Op, Streams, SubLayer,
};
use crate::model::naming::{LayerNames, Naming};
use crate::model::slot::SubLayerPlace;

const DEFAULTS: Defaults = Defaults {
    vocab_size: 262_400,
    hidden_size: 2048,
    intermediate_size: 16_384,
    layers: 35,
    kv_heads: Some(2),
    context_length: 32_768,
    ..gemma::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    keys.only("use_bidirectional_attention", false, "attention here is causal")?;
    let mut decoder = Decoder::read(&keys.without("intermediate_size"), &DEFAULTS)?;
    decoder.embedding_scale = f64::from(decoder.hidden_size).sqrt() as f32;
    decoder.head.softcap = keys.nullable("final_logit_softcapping", Some(30.0))?;
    let base = gemma4::base(keys, &decoder)?;
    let known = [LayerType::Full, LayerType::Sliding];
    let types = layer_types(keys, decoder.layers, &known, |layer| {
        if (layer + 1).is_multiple_of(5) { LayerType::Full } else { LayerType::Sliding }
    })?;
    let window = window(keys, &types, Some(512))?;
    let [local_rope, global_rope] = gemma3::ropes(keys, &decoder)?;
    let local = Attention { rope: Some(local_rope), window, ..base.clone() };
    let global = Attention { rope: Some(global_rope), ..base };
    let sources = small_gemma::kv_sources(keys, &types, 15)?;
    let layer_inputs = small_gemma::layer_inputs(keys, &decoder)?;
    if layer_inputs.is_none() {
        let why = "every layer of this family has an embedding of its own";
        return Err(keys.unsupported("hidden_size_per_layer_input", 0, why));
    }
    let networks = feed_forwards(keys, &decoder)?;
    let laurel_rank = keys.or("laurel_rank", 64)?;
    let block = |((of, source), network): ((LayerType, Option<SubLayerPlace>), FeedForward)| {
        let attention = if of == LayerType::Sliding { &local } else { &global };
        let attention = match source {
            // Attention is the first branch beside the low-rank one.
            Some(source) => {
                let kv_from = Some(SubLayerPlace { branch: Some(0), ..source });
                Attention { kv_from, v_norm: false, ..attention.clone() }
            }
            None => attention.clone(),
        };
        let network = SubLayer {
            post_norm: Some(decoder.norm),
            ..SubLayer::new(decoder.norm, Op::FeedForward(network))
        };
        let attention = beside_laurel(attention, laurel_rank, decoder.norm);
        Block { sublayers: vec![attention, network, small_gemma::layer_input(&decoder)] }
    };
    let blocks = types.into_iter().zip(sources).zip(networks).map(block).collect();
    let streams = Some(streams(keys, &decoder)?);
    let model = ModelConfig { layer_inputs, streams, ..decoder.model("gemma3n_text", blocks) };
    let names = LayerNames {
        router_norm_factor: (1.0 / f64::from(model.hidden_size)) as f32,
        laurel: true,
        ..LayerNames::PRE_AND_POST_NORM
    };
    Ok((model, Naming::hugging_face(names)))
}

/// Attention and a low-rank branch that keeps its input, both of one norm: `(x + attention + n + laurel) / sqrt(2)`.
fn beside_laurel(attention: Attention, rank: u32, norm: Norm) -> SubLayer {
    let branch = |op, keep_input| SubLayer {
        norm: None,
        post_norm: Some(norm),
        keep_input,
        ..SubLayer::new(norm, op)
    };
    let laurel = Op::FeedForward(FeedForward::plain(rank, Activation::Identity));
    let branches = vec![branch(Op::Attention(attention), false), branch(laurel, true)];
    let output_factor = Some(std::f32::consts::FRAC_1_SQRT_2);
    SubLayer { output_factor, ..SubLayer::new(norm, Op::Parallel(branches)) }
}

/// The network of each layer: they may differ in their width, and in the share of gates that takes no part.
fn feed_forwards(keys: &Keys<'_>, decoder: &Decoder) -> Result<Vec<FeedForward>> {
    let each = |key: &str, values: usize| match values == decoder.layers {
        true => Ok(()),
        false => Err(keys.error(key, format!("one for each of {} layers", decoder.layers), values)),
    };
    let key = "intermediate_size";
    let widths = match keys.or(key, OneOrEach::One(Whole(DEFAULTS.intermediate_size)))? {
        OneOrEach::One(width) => vec![width; decoder.layers],
        OneOrEach::Each(widths) => widths,
    };
    each(key, widths.len())?;
    if widths.contains(&Whole(0)) {
        return Err(keys.error(key, "positive numbers", 0));
    }
    let sparse_layers = if decoder.layers > 10 { 10 } else { 0 };
    let default = |layer| NotNegative(if layer < sparse_layers { 0.95 } else { 0.0 });
    let key = "activation_sparsity_pattern";
    let shares: Option<Vec<NotNegative>> = keys.nullable(key, None)?;
    let shares = shares.unwrap_or_else(|| (0..decoder.layers).map(default).collect());
    each(key, shares.len())?;
    let network = |(Whole(hidden), NotNegative(share)): (Whole, NotNegative)| FeedForward {
        hidden,
        sparsity: (share > 0.0).then_some(share as f32),
        ..decoder.feed_forward
    };
    Ok(widths.into_iter().zip(shares).map(network).collect())
}

fn streams(keys: &Keys<'_>, decoder: &Decoder) -> Result<Streams> {
    let count = keys.or("altup_num_inputs", 4)?;
    let Whole(active) = keys.or("altup_active_idx", Whole(0))?;
    if active >= count {
        return Err(keys.error("altup_active_idx", format!("one of the {count} streams"), active));
    }
    let scaled = keys.or("altup_correct_scale", true)?;
    Ok(Streams { count, active, norm: decoder.norm, scaled })
}
