//! GPT-J (EleutherAI, 2021): attention and a plain network side by side after one LayerNorm, heads rotated in part, neighbour
//! with neighbour.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::llama;
use crate::Result;
use crate::model::config::{
    Attention, FeedForward, ModelConfig, NormKind, Op, Rope, RopeLayout, RopeScaling,
};
use crate::model::naming::{AttentionNames, LayerNames, ModelNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_400,
    four_times: true,
    layers: 28,
    heads: 16,
    norm_eps: 1e-5,
    activation: ("activation_function", "gelu_new"),
    ..llama::DEFAULTS
};

/// What GPT-2 and those after it call these keys.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("hidden_size", "n_embd"),
    ("intermediate_size", "n_inner"),
    ("num_hidden_layers", "n_layer"),
    ("num_attention_heads", "n_head"),
    ("max_position_embeddings", "n_positions"),
    ("rms_norm_eps", "layer_norm_epsilon"),
];

const NAMES: LayerNames = LayerNames {
    model: ModelNames::GPT,
    attention: AttentionNames { module: "attn", out: "out_proj", ..AttentionNames::LLAMA },
    norms: ["ln_1", "", "", ""],
    matrices: ["", "fc_in", "fc_out"],
    ..LayerNames::PRE_NORM
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let keys = &keys.with_names(KEYS);
    keys.only("tie_word_embeddings", false, "the head has biases, and so a matrix of its own here")?;
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.norm.kind = NormKind::LayerNormBias;
    decoder.head.bias = true;
    let rope = Rope {
        theta: 10_000.0,
        rotary_dim: keys.or("rotary_dim", 64)?,
        layout: RopeLayout::Interleaved,
        scaling: RopeScaling::None,
    };
    let attention = Attention { rope: Some(rope), ..decoder.attention.clone() };
    let feed_forward = FeedForward { gated: false, bias: true, ..decoder.feed_forward };
    let blocks = vec![decoder.parallel_block(attention, Op::FeedForward(feed_forward)); decoder.layers];
    Ok((decoder.model("gptj", blocks), Naming::hugging_face(NAMES)))
}
