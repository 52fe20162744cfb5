//! Falcon (arXiv 2311.16867): a plain network beside attention or after it, with one key/value head, some or as many as there
//! are query heads, and rotated heads or ALiBi.

use super::decoder::{Decoder, Defaults};
use super::keys::{Keys, Whole};
use super::{llama, rope};
use crate::Result;
use crate::model::config::{Alibi, Attention, FeedForward, ModelConfig, NormKind, Op};
use crate::model::naming::{AttentionNames, FusedQkv, LayerNames, ModelNames, Naming};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 65_024,
    hidden_size: 4544,
    four_times: true,
    heads: 71,
    norm_eps: 1e-5,
    activation: ("activation", "gelu"),
    tied: true,
    ..llama::DEFAULTS
};

const KEYS: &[(&str, &str)] =
    &[("intermediate_size", "ffn_hidden_size"), ("rms_norm_eps", "layer_norm_epsilon")];

const MODEL_NAMES: ModelNames = ModelNames { embedding: "word_embeddings", ..ModelNames::GPT };

/// How a layer is put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One sub-layer after the other.
    Serial,
    /// Side by side, after one norm.
    Parallel,
    /// Side by side, each after its own.
    TwoNorms,
}

impl Form {
    fn read(keys: &Keys<'_>, is_new: bool) -> Result<Self> {
        let is_parallel = keys.or("parallel_attn", true)?;
        let norms = keys.nullable("num_ln_in_parallel_attn", None)?.map(|Whole(norms)| norms);
        match (is_new, is_parallel, norms) {
            (true, false, _) => {
                Err(keys.unsupported("parallel_attn", false, "no layer of the new architecture is serial"))
            }
            (true, true, None | Some(2)) => Ok(Self::TwoNorms),
            (_, true, None | Some(1)) => Ok(Self::Parallel),
            (false, false, _) => Ok(Self::Serial),
            (_, true, Some(norms)) => {
                let why = "known are 1, and 2 of the new architecture";
                Err(keys.unsupported("num_ln_in_parallel_attn", norms, why))
            }
        }
    }

    /// The norms before attention and before the feed-forward network.
    fn norms(self) -> [&'static str; 4] {
        match self {
            Self::Serial | Self::Parallel => LayerNames::PRE_NORM.norms,
            Self::TwoNorms => ["ln_attn", "", "ln_mlp", ""],
        }
    }
}

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let keys = &keys.with_names(KEYS);
    let mut decoder = Decoder::read(keys, &DEFAULTS)?;
    decoder.norm.kind = NormKind::LayerNormBias;
    let is_new = keys.or("new_decoder_architecture", false)?;
    let form = Form::read(keys, is_new)?;
    let attention = attention(keys, &decoder, is_new)?;
    let Attention { heads, kv_heads, head_dim, qkv_bias: bias, .. } = attention;
    let feed_forward = Op::FeedForward(FeedForward { gated: false, bias, ..decoder.feed_forward });
    let block = match form {
        Form::Serial => decoder.block(attention, feed_forward),
        Form::Parallel => decoder.parallel_block(attention, feed_forward),
        Form::TwoNorms => decoder.parallel_block_of_two_norms(attention, feed_forward),
    };
    let blocks = vec![block; decoder.layers];
    let fused = FusedQkv { name: "query_key_value", heads, kv_heads, head_dim };
    let names = LayerNames {
        model: MODEL_NAMES,
        attention: AttentionNames {
            module: "self_attention",
            out: "dense",
            fused: Some(fused),
            ..AttentionNames::LLAMA
        },
        norms: form.norms(),
        matrices: ["", "dense_h_to_4h", "dense_4h_to_h"],
        ..LayerNames::PRE_NORM
    };
    Ok((decoder.model("falcon", blocks), Naming::hugging_face(names)))
}

/// The number of key/value heads is read of the new architecture alone.
fn attention(keys: &Keys<'_>, decoder: &Decoder, is_new: bool) -> Result<Attention> {
    let Attention { heads, scale, .. } = decoder.attention;
    let kv_heads = match (is_new, keys.or("multi_query", true)?) {
        (true, _) => keys.nullable("num_kv_heads", None)?.unwrap_or(heads),
        (false, true) => 1,
        (false, false) => {
            keys.only("num_kv_heads", heads, "without multi_query each query head has one of its own")?;
            heads
        }
    };
    if !heads.is_multiple_of(kv_heads) {
        let expected = format!("a divisor of the {heads} attention heads");
        return Err(keys.error("num_kv_heads", expected, kv_heads));
    }
    let bias = keys.or("bias", false)?;
    let has_alibi = keys.or("alibi", false)?;
    Ok(Attention {
        kv_heads,
        rope: if has_alibi { None } else { Some(rope::uniform(keys, decoder, 10_000.0)?) },
        // It is scaled as scores are, and computed in bfloat16 (transformers 5.23, `build_alibi_tensor`).
        alibi: has_alibi.then_some(Alibi { scale, bf16: true }),
        qkv_bias: bias,
        out_bias: bias,
        ..decoder.attention.clone()
    })
}
