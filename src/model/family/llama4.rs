//! Llama 4's text model: chunks of attention with positions, and layers without them whose queries grow with their position;
//! experts whose input is weighted, beside one that every token uses.

use super::decoder::{Decoder, Defaults};
use super::experts::{counts, experts};
use super::keys::{Flag, Keys, Whole};
use super::layers::{LayerType, layer_types};
use super::{llama, rope};
use crate::Result;
use crate::model::config::{
    Attention, Experts, FeedForward, ModelConfig, Norm, NormKind, Op, Rope, RopeLayout, Routing, Score,
    SharedExpert, Temperature, Topk, WeightOn,
};
use crate::model::naming::{ExpertNames, FusedExperts, LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 202_048,
    hidden_size: 5120,
    intermediate_size: 8192,
    layers: 48,
    heads: 40,
    kv_heads: Some(8),
    head_dim: Some(128),
    context_length: 131_072,
    norm_eps: 1e-5,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let layers = decoder.layers;
    let rotated = rotated_layers(keys, layers)?;
    let known = [LayerType::Full, LayerType::Chunked];
    let of_rotated = |layer: usize| if rotated[layer] { LayerType::Chunked } else { LayerType::Full };
    let types = layer_types(keys, layers, &known, of_rotated)?;
    let [with_rope, without] = attentions(keys, &decoder)?;
    let chunk = keys.nullable("attention_chunk_size", Some(8192))?;

    let counts = counts(keys, ["num_local_experts", "num_experts"], [16, 1])?;
    let topk = Topk { weight_on: WeightOn::Input, ..Topk::of(Score::Sigmoid) };
    let expert_size = decoder.feed_forward.hidden;
    let sparse = experts(&decoder, counts, expert_size, Routing::Topk(topk));
    let shared = SharedExpert { expert: decoder.feed_forward, gated: false };
    let sparse = Op::Experts(Experts { shared: Some(shared), ..sparse });
    let hidden = keys.or("intermediate_size_mlp", 16_384)?;
    let dense = Op::FeedForward(FeedForward { hidden, ..decoder.feed_forward });
    let is_sparse = sparse_layers(keys, layers)?;
    let block = |layer: usize| {
        let chunk = chunk.filter(|_| types[layer] == LayerType::Chunked);
        let attention = if rotated[layer] { &with_rope } else { &without };
        let op = if is_sparse[layer] { &sparse } else { &dense };
        decoder.block(Attention { chunk, ..attention.clone() }, op.clone())
    };
    let blocks = (0..layers).map(block).collect();
    let names = LayerNames {
        feed_forward: "feed_forward",
        router: "feed_forward.router",
        shared_expert: "feed_forward.shared_expert",
        experts: ExpertNames::Fused(FusedExperts {
            module: "feed_forward.experts",
            count: counts[0],
            hidden_size: decoder.hidden_size,
            expert_size,
            input_major: true,
            interleaved: false,
        }),
        ..LayerNames::PRE_NORM
    };
    Ok((decoder.model("llama4_text", blocks), Naming::hugging_face(names)))
}

/// Attention with positions, and without.
fn attentions(keys: &Keys<'_>, decoder: &Decoder) -> Result<[Attention; 2]> {
    let bias = keys.or("attention_bias", false)?;
    let without = Attention { qkv_bias: bias, out_bias: bias, ..decoder.attention.clone() };
    let Flag(grows) = keys.or("attn_temperature_tuning", Flag(true))?;
    let temperature =
        Temperature { scale: keys.or("attn_scale", 0.1)?, floor: keys.or("floor_scale", 8192)? };
    let norm = Norm { kind: NormKind::RmsUnweighted, ..decoder.norm };
    let rope = Rope { layout: RopeLayout::Interleaved, ..rope::uniform(keys, decoder, 500_000.0)? };
    Ok([
        Attention {
            qk_norm: keys.or("use_qk_norm", true)?.then_some(norm),
            rope: Some(rope),
            ..without.clone()
        },
        Attention { temperature: grows.then_some(temperature), ..without },
    ])
}

/// Which layers have positions: those that a list says, or all but every so many.
fn rotated_layers(keys: &Keys<'_>, layers: usize) -> Result<Vec<bool>> {
    let interval = keys.or("no_rope_layer_interval", 4)? as usize;
    let list = keys.nullable::<Vec<Whole>>("no_rope_layers", None)?.unwrap_or_default();
    match list.len() {
        0 => Ok((1..=layers).map(|nth| !nth.is_multiple_of(interval)).collect()),
        few if few < layers => {
            Err(keys.error("no_rope_layers", format!("one for each of {layers} layers"), few))
        }
        _ => Ok(list.into_iter().map(|Whole(rotates)| rotates > 0).collect()),
    }
}

/// Which layers have experts: those that a list says, or every so many.
fn sparse_layers(keys: &Keys<'_>, layers: usize) -> Result<Vec<bool>> {
    let step = keys.or("interleave_moe_layer_step", 1)? as usize;
    Ok(match keys.nullable::<Vec<Whole>>("moe_layers", None)? {
        Some(list) => (0..layers).map(|layer| list.iter().any(|Whole(n)| *n as usize == layer)).collect(),
        None => (1..=layers).map(|nth| nth.is_multiple_of(step)).collect(),
    })
}
