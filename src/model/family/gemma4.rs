//! Gemma 4's text model: larger heads with a partial rotation in global layers, whose values may be their keys; a dense network,
//! or one with experts beside it, each with norms of its own; in small models embeddings of each layer, and last layers that see
//! the keys of earlier ones and may have networks twice as wide.

use super::decoder::{Decoder, Defaults, inverse_sqrt};
use super::experts::experts;
use super::keys::Keys;
use super::layers::{LayerType, layer_types, window};
use super::{gemma, rope, small_gemma};
use crate::Result;
use crate::model::config::{
    Attention, Block, Experts, FeedForward, ModelConfig, Op, RopeScaling, Routing, Score, SubLayer, Topk,
};
use crate::model::naming::{ExpertNames, FusedExperts, LayerNames, Naming};
use crate::model::slot::SubLayerPlace;

const DEFAULTS: Defaults =
    Defaults { vocab_size: 262_144, layers: 30, context_length: 131_072, ..gemma::DEFAULTS };

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    keys.only("use_bidirectional_attention", "vision".to_owned(), "attention here is causal")?;
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.post_norm = Some(decoder.norm);
    decoder.embedding_scale = f64::from(decoder.hidden_size).sqrt() as f32;
    decoder.head.softcap = keys.nullable("final_logit_softcapping", None)?;
    let base = base(keys, &decoder)?;
    let known = [LayerType::Full, LayerType::Sliding];
    let mut types = layer_types(keys, decoder.layers, &known, |layer| {
        if (layer + 1).is_multiple_of(6) { LayerType::Full } else { LayerType::Sliding }
    })?;
    if let Some(last) = types.last_mut() {
        // So does the reference implementation (transformers 5.23, `configuration_gemma4.py`).
        *last = LayerType::Full;
    }
    let window = window(keys, &types, Some(512))?;
    if let Some(own) = keys.child("per_layer_config")? {
        let layers: Vec<String> = (0..decoder.layers).map(|layer| layer.to_string()).collect();
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        own.known(&layers, "it is no layer's")?;
    }
    let sources = small_gemma::kv_sources(keys, &types, 0)?;
    let layer_inputs = small_gemma::layer_inputs(keys, &decoder)?;
    let layer_input = layer_inputs.map(|_| small_gemma::layer_input(&decoder));
    let is_wide = keys.or("use_double_wide_mlp", false)?;
    let [own, sharing] = [false, true].map(|sharing| {
        let hidden = decoder.feed_forward.hidden;
        let hidden = if sharing && is_wide { hidden.saturating_mul(2) } else { hidden };
        feed_forward_layer(keys, &decoder, FeedForward { hidden, ..decoder.feed_forward })
    });
    let ((own, names), (sharing, _)) = (own?, sharing?);
    let block = |((layer, of), source): ((usize, LayerType), Option<SubLayerPlace>)| {
        let attention = attention(keys, &base, (layer, of), (&decoder, window))?;
        let attention = match source {
            Some(_) => Attention { kv_from: source, v_norm: false, v_is_k: false, ..attention },
            None => attention,
        };
        let attention = SubLayer {
            post_norm: decoder.post_norm,
            ..SubLayer::new(decoder.norm, Op::Attention(attention))
        };
        let feed_forward = if source.is_some() { &sharing } else { &own };
        let mut sublayers = vec![attention, feed_forward.clone()];
        sublayers.extend(layer_input.clone());
        if let Some(last) = sublayers.last_mut() {
            last.output_scale = true;
        }
        Ok(Block { sublayers })
    };
    let blocks = types.into_iter().enumerate().zip(sources).map(block).collect::<Result<_>>()?;
    let model = ModelConfig { layer_inputs, ..decoder.model("gemma4_text", blocks) };
    Ok((model, Naming::hugging_face(names)))
}

/// What attention of every layer has in common, here and in Gemma 3n.
pub(super) fn base(keys: &Keys<'_>, decoder: &Decoder) -> Result<Attention> {
    let bias = keys.or("attention_bias", false)?;
    Ok(Attention {
        scale: 1.0,
        qk_norm: Some(decoder.norm),
        v_norm: true,
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    })
}

/// The attention of a layer. Layers may differ in their heads: those that `per_layer_config` lists, or in older files the
/// global ones.
fn attention(
    keys: &Keys<'_>,
    base: &Attention,
    (layer, of): (usize, LayerType),
    (decoder, window): (&Decoder, Option<u32>),
) -> Result<Attention> {
    let is_global = of == LayerType::Full;
    let v_is_k = is_global && keys.or("attention_k_eq_v", false)?;
    let mut attention = Attention { v_is_k, window: window.filter(|_| !is_global), ..base.clone() };
    if let Some(own) = keys.child("per_layer_config")? {
        if let Some(own) = own.child(&layer.to_string())? {
            own.known(&["head_dim", "num_key_value_heads"], "layers differ in their heads alone here")?;
            attention.head_dim = own.or("head_dim", attention.head_dim)?;
            attention.kv_heads = own.or("num_key_value_heads", attention.kv_heads)?;
        }
    } else if is_global {
        attention.head_dim = keys.or("global_head_dim", 512)?;
        if keys.or("attention_k_eq_v", false)? {
            let kv_heads = keys.nullable("num_global_key_value_heads", None)?;
            attention.kv_heads = kv_heads.unwrap_or(attention.kv_heads);
        }
    }
    let parameters = keys.child("rope_parameters")?;
    let name = if is_global { "full_attention" } else { "sliding_attention" };
    let own = parameters.as_ref().map_or(Ok(None), |parameters| parameters.child(name))?;
    let theta = if is_global { 1_000_000.0 } else { 10_000.0 };
    let head = rope::Head { head_dim: attention.head_dim, ..decoder.head_to_rotate() };
    let mut rope = rope::read(own.as_ref(), head, theta)?;
    if is_global && own.is_none() {
        rope.scaling = RopeScaling::Proportional { pairs: attention.head_dim / 8, factor: 1.0 };
    }
    attention.rope = Some(rope);
    Ok(attention)
}

/// The other half of a layer, and what the layer's tensors are called: a dense network, with experts beside it or alone.
fn feed_forward_layer(
    keys: &Keys<'_>,
    decoder: &Decoder,
    dense: FeedForward,
) -> Result<(SubLayer, LayerNames)> {
    let dense =
        SubLayer { post_norm: decoder.post_norm, ..SubLayer::new(decoder.norm, Op::FeedForward(dense)) };
    if !keys.or("enable_moe_block", false)? {
        return Ok((dense, LayerNames::PRE_AND_POST_NORM));
    }
    let count = keys.required("num_experts")?;
    let top_k = keys.required("top_k_experts")?;
    if top_k > count {
        return Err(keys.error("top_k_experts", format!("at most the {count} experts"), top_k));
    }
    let expert_size = keys.required("moe_intermediate_size")?;
    let topk = Topk { renormalize: true, expert_scale: true, ..Topk::of(Score::Softmax) };
    let sparse = Experts {
        router_norm: Some(decoder.norm),
        ..experts(decoder, [count, top_k], expert_size, Routing::Topk(topk))
    };
    let sparse = SubLayer { op: Op::Experts(sparse), ..dense.clone() };
    let branches = vec![dense.clone(), sparse];
    let layer = SubLayer { norm: None, op: Op::Parallel(branches), ..dense };
    let names = LayerNames {
        router: "router.proj",
        router_norm_factor: inverse_sqrt(decoder.hidden_size.into()),
        experts: ExpertNames::Fused(FusedExperts {
            module: "experts",
            count,
            hidden_size: decoder.hidden_size,
            expert_size,
            input_major: false,
            interleaved: false,
        }),
        ..LayerNames::PRE_AND_POST_NORM
    };
    Ok((layer, names))
}
