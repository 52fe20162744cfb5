//! DeepSeek-V2 (arXiv 2405.04434) and DeepSeek-V3 (arXiv 2412.19437): attention over latents, and experts in groups.

use super::decoder::{Decoder, Defaults, inverse_sqrt};
use super::experts::{DeepSeek, deepseek, deepseek_counts, deepseek_experts, expert_groups};
use super::keys::Keys;
use super::{llama, rope};
use crate::Result;
use crate::model::config::{
    Attention, Experts, GroupScore, LatentAttention, ModelConfig, Norm, NormKind, Op, Rope, RopeLayout,
    RopeScaling, Score, Topk,
};
use crate::model::naming::{LayerNames, Naming};

const DEFAULTS_V2: Defaults = Defaults {
    intermediate_size: 11_008,
    // The width of what is rotated; heads have no other.
    head_dim: Some(ROPE_DIM),
    ..llama::DEFAULTS
};

const ROUTER_V2: DeepSeek =
    DeepSeek { counts: [64, 0], expert_size: 1407, shared: Some(2), dense: 0, ..DeepSeek::COMMON };

const DEFAULTS_V3: Defaults = Defaults {
    vocab_size: 129_280,
    hidden_size: 7168,
    intermediate_size: 18_432,
    layers: 61,
    heads: 128,
    context_length: 4096,
    ..DEFAULTS_V2
};

const ROUTER_V3: DeepSeek = DeepSeek {
    counts: [256, 8],
    expert_size: 2048,
    groups: [8, 4],
    scale: 2.5,
    dense: 3,
    ..DeepSeek::COMMON
};

/// Elements of a head that are rotated, where a file does not say it.
const ROPE_DIM: u32 = 64;

/// Of the norms of latents, whatever a file says of the others (transformers 5.23, `modeling_deepseek_v3.py`).
const LATENT_EPS: f32 = 1e-6;

pub(super) fn read_v2(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = decoder(keys, &DEFAULTS_V2)?;
    keys.only("mlp_bias", false, "its experts have none")?;
    keys.only("scoring_func", "softmax".to_owned(), "its router takes a softmax")?;
    keys.only("norm_topk_prob", false, "its weights are those of the softmax over all experts")?;
    let counts = deepseek_counts(keys, &ROUTER_V2)?;
    if counts[1] == 0 {
        return Err(keys.error("num_experts_per_tok", "a positive number", 0));
    }
    let groups = match keys.or("topk_method", "greedy".to_owned())?.as_str() {
        "greedy" => None,
        "group_limited_greedy" => expert_groups(keys, counts, ROUTER_V2.groups, GroupScore::Best)?,
        other => {
            let known = "known are greedy and group_limited_greedy";
            return Err(keys.unsupported("topk_method", other, known));
        }
    };
    let scale = keys.or("routed_scaling_factor", ROUTER_V2.scale)?;
    let topk = Topk { scale, groups, ..Topk::of(Score::Softmax) };
    let experts = deepseek_experts(keys, &decoder, &ROUTER_V2, (counts, topk))?;
    model(keys, decoder, ("deepseek_v2", true), experts)
}

pub(super) fn read_v3(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let decoder = decoder(keys, &DEFAULTS_V3)?;
    keys.only("scoring_func", "sigmoid".to_owned(), "its router takes a sigmoid")?;
    keys.only("topk_method", "noaux_tc".to_owned(), "its router adds a bias to scores")?;
    let experts = deepseek(keys, &decoder, &ROUTER_V3)?;
    model(keys, decoder, ("deepseek_v3", keys.or("rope_interleave", true)?), experts)
}

/// What both have; the head of its attention is what is rotated.
fn decoder(keys: &Keys<'_>, defaults: &Defaults) -> Result<Decoder> {
    keys.only("moe_layer_freq", 1_u32, "every layer after the dense ones has experts")?;
    let decoder = Decoder::read(keys, defaults)?;
    let Attention { heads, kv_heads, .. } = decoder.attention;
    if heads != kv_heads {
        let expected = format!("the {heads} attention heads, which share no keys");
        return Err(keys.error("num_key_value_heads", expected, kv_heads));
    }
    let head_dim = keys.or("qk_rope_head_dim", ROPE_DIM)?;
    Ok(Decoder { attention: Attention { head_dim, ..decoder.attention }, ..decoder })
}

fn model(
    keys: &Keys<'_>,
    decoder: Decoder,
    (name, interleaved): (&str, bool),
    (dense, experts): (usize, Experts),
) -> Result<(ModelConfig, Naming)> {
    let layout = if interleaved { RopeLayout::Interleaved } else { RopeLayout::HalfSplit };
    let rope = Rope { layout, ..rope::uniform(keys, &decoder, 10_000.0)? };
    let nope_dim = keys.or("qk_nope_head_dim", 128)?;
    let value_dim = keys.or("v_head_dim", 128)?;
    let head_dim = f64::from(nope_dim) + f64::from(rope.rotary_dim);
    let bias = keys.or("attention_bias", false)?;
    let attention = LatentAttention {
        heads: decoder.attention.heads,
        q_latent: keys.nullable("q_lora_rank", Some(1536))?,
        kv_latent: keys.or("kv_lora_rank", 512)?,
        nope_dim,
        value_dim,
        latent_norm: Norm { kind: NormKind::Rms, eps: LATENT_EPS },
        scale: inverse_sqrt(head_dim) * score_factor(keys, rope)?,
        rope,
        latent_bias: bias,
        out_bias: bias,
    };
    let block = |layer: usize| {
        let op = if layer < dense { Op::FeedForward(decoder.feed_forward) } else { Op::Experts(experts) };
        decoder.block_of(Op::LatentAttention(attention.clone()), op)
    };
    let blocks = (0..decoder.layers).map(block).collect();
    let names = LayerNames { latent_rows: [nope_dim, value_dim], ..LayerNames::PRE_NORM };
    let names = match attention.q_latent {
        Some(_) => LayerNames { queries: "self_attn.q_b_proj", ..names },
        None => names,
    };
    Ok((decoder.model(name, blocks), Naming::hugging_face(names)))
}

/// What scores are multiplied by besides, for the magnitude that stretched positions take from them: the square of
/// `0.1 mscale_all_dim ln(factor) + 1` (YaRN, arXiv 2309.00071, section 3.4, as DeepSeek-V2 has it).
fn score_factor(keys: &Keys<'_>, rope: Rope) -> Result<f32> {
    let factor = match rope.scaling {
        RopeScaling::None | RopeScaling::Proportional { .. } => return Ok(1.0),
        RopeScaling::Linear { factor }
        | RopeScaling::Llama3 { factor, .. }
        | RopeScaling::Yarn { factor, .. } => factor,
    };
    let all = rope::magnitude_of_scores(keys)?;
    let magnitude = if factor <= 1.0 || all == 0.0 { 1.0 } else { 0.1 * all * factor.ln() + 1.0 };
    Ok((magnitude * magnitude) as f32)
}
