//! gpt-oss (arXiv 2508.10925): sinks, YaRN, biases everywhere, clamped SwiGLU, a softmax over the chosen logits, every other
//! layer local.

use super::decoder::{Decoder, Defaults};
use super::experts::{counts, experts};
use super::keys::Keys;
use super::layers::{LayerType, layer_types, window};
use super::{llama, rope};
use crate::Result;
use crate::model::config::{
    Attention, Experts, FeedForward, GateClamp, ModelConfig, Op, RopeScaling, Routing,
};
use crate::model::naming::{ExpertNames, FusedExperts, LayerNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 201_088,
    hidden_size: 2880,
    intermediate_size: 2880,
    layers: 36,
    heads: 64,
    kv_heads: Some(8),
    head_dim: Some(64),
    context_length: 131_072,
    norm_eps: 1e-5,
    ..llama::DEFAULTS
};

/// Where a description has no rotation of its own.
const YARN: RopeScaling = RopeScaling::Yarn {
    factor: 32.0,
    beta_fast: 32.0,
    beta_slow: 1.0,
    truncate: false,
    // 0.1 ln(32) + 1
    magnitude: 1.346_573_590_279_972_6,
    original_context: 4096,
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = Decoder::read(keys, &DEFAULTS)?;
    let known = [LayerType::Full, LayerType::Sliding];
    let types = layer_types(keys, decoder.layers, &known, |layer| {
        if layer.is_multiple_of(2) { LayerType::Sliding } else { LayerType::Full }
    })?;
    let window = window(keys, &types, Some(128))?;
    let bias = keys.or("attention_bias", true)?;
    let mut rope = rope::uniform(keys, &decoder, 150_000.0)?;
    if !keys.has("rope_scaling") && !keys.has("rope_parameters") {
        rope.scaling = YARN;
    }
    let global = Attention {
        rope: Some(rope),
        sinks: true,
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    };
    let [count, top_k] = counts(keys, ["num_local_experts", "num_experts"], [128, 4])?;
    let clamp = GateClamp { alpha: keys.or("swiglu_alpha", 1.702)?, limit: keys.or("swiglu_limit", 7.0)? };
    let expert_size = decoder.feed_forward.hidden;
    let sparse = experts(&decoder, [count, top_k], expert_size, Routing::topk_softmax());
    let expert = FeedForward { bias: true, clamp: Some(clamp), ..sparse.expert };
    let sparse = Op::Experts(Experts { expert, router_bias: true, ..sparse });
    let block = |of: LayerType| {
        let window = window.filter(|_| of == LayerType::Sliding);
        decoder.block(Attention { window, ..global.clone() }, sparse.clone())
    };
    let blocks = types.into_iter().map(block).collect();
    let names = LayerNames {
        router: "mlp.router",
        experts: ExpertNames::Fused(FusedExperts {
            module: "mlp.experts",
            count,
            hidden_size: decoder.hidden_size,
            expert_size,
            input_major: true,
            interleaved: true,
        }),
        ..LayerNames::PRE_NORM
    };
    Ok((decoder.model("gpt_oss", blocks), Naming::hugging_face(names)))
}
