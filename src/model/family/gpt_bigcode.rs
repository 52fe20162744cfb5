//! GPT-BigCode: SantaCoder and StarCoder (arXiv 2305.06161). GPT-2 with learned positions and biases, whose query heads share
//! one key/value head.

use super::decoder::{Decoder, Defaults};
use super::keys::Keys;
use super::{gptj, llama};
use crate::Result;
use crate::model::config::{Attention, FeedForward, ModelConfig, NormKind, Op};
use crate::model::naming::{AttentionNames, FusedQkv, LayerNames, ModelNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_257,
    hidden_size: 768,
    four_times: true,
    layers: 12,
    heads: 12,
    context_length: 1024,
    norm_eps: 1e-5,
    activation: ("activation_function", "gelu_pytorch_tanh"),
    tied: true,
    ..llama::DEFAULTS
};

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let keys = &keys.with_names(gptj::KEYS);
    keys.only("add_cross_attention", false, "there is no encoder to attend to")?;
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.norm.kind = NormKind::LayerNormBias;
    let Attention { heads, head_dim, scale, .. } = decoder.attention;
    let kv_heads = if keys.or("multi_query", true)? { 1 } else { heads };
    let attention = Attention {
        kv_heads,
        scale: if keys.or("scale_attn_weights", true)? { scale } else { 1.0 },
        qkv_bias: true,
        out_bias: true,
        ..decoder.attention.clone()
    };
    let feed_forward = Op::FeedForward(FeedForward { gated: false, bias: true, ..decoder.feed_forward });
    let blocks = vec![decoder.block(attention, feed_forward); decoder.layers];
    let fused = FusedQkv { name: "c_attn", heads, kv_heads, head_dim };
    let names = LayerNames {
        model: ModelNames::GPT,
        attention: AttentionNames {
            module: "attn",
            out: "c_proj",
            fused: Some(fused),
            ..AttentionNames::LLAMA
        },
        norms: ["ln_1", "", "ln_2", ""],
        matrices: ["", "c_fc", "c_proj"],
        ..LayerNames::PRE_NORM
    };
    let model = ModelConfig { learned_positions: true, ..decoder.model("gpt_bigcode", blocks) };
    Ok((model, Naming::hugging_face(names)))
}
