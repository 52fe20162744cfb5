//! T5 and T5 v1.1 (arXiv 1910.10683; 2002.05202 for the gate): an encoder and a decoder, biases by distance in place of positions.

use super::decoder::{MAX_LAYERS, activation_named, inverse_sqrt};
use super::keys::{Keys, Whole};
use crate::Result;
use crate::model::config::{
    Attention, Block, Encoder, FeedForward, Head, ModelConfig, Norm, NormKind, Op, RelativeBias, SubLayer,
};
use crate::model::naming::{Naming, T5 as Names, T5Names};

/// Distances are all that positions are to these models, so that any length will do; this is far beyond what they were
/// trained with.
const CONTEXT_LENGTH: u32 = 32_768;

/// What a family assumes where its `config.json` says nothing.
pub(super) struct Defaults {
    pub d_model: u32,
    pub layers: u32,
    pub heads: u32,
}

const DEFAULTS: Defaults = Defaults { d_model: 512, layers: 6, heads: 8 };

/// What both families share.
pub(super) struct T5 {
    pub vocab_size: u32,
    pub d_model: u32,
    /// Width of a feed-forward network.
    pub hidden: u32,
    /// Blocks of the encoder and of the decoder.
    pub layers: [usize; 2],
    pub attention: Attention,
    pub bias: RelativeBias,
    pub norm: Norm,
    pub tied: bool,
    pub start_id: u32,
}

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let t5 = T5::read(keys, &DEFAULTS)?;
    let (activation, gated) = projection(keys)?;
    let dense = FeedForward { gated, ..FeedForward::plain(t5.hidden, activation) };
    // Files without the key are older than it: they scale where the head is the table.
    let scaled = keys.or("scale_decoder_outputs", t5.tied)?;
    let model = t5.model("t5", scaled, |_, _| Op::FeedForward(dense));
    Ok((model, Naming::T5(Names::new(T5Names { feed_forward: "DenseReluDense", gated }))))
}

/// `relu`, or with a gate `gated-gelu`, whose GELU is that of the tanh formula.
fn projection(keys: &Keys<'_>) -> Result<(crate::model::config::Activation, bool)> {
    const KEY: &str = "feed_forward_proj";
    let name = keys.or(KEY, "relu".to_owned())?;
    match name.split_once('-') {
        None => Ok((activation_named(keys, KEY, &name)?, false)),
        Some(("gated", "gelu")) => Ok((activation_named(keys, KEY, "gelu_new")?, true)),
        Some(("gated", function)) => Ok((activation_named(keys, KEY, function)?, true)),
        Some(_) => Err(keys.error(KEY, "an activation, or gated- and an activation", name)),
    }
}

impl T5 {
    pub fn read(keys: &Keys<'_>, defaults: &Defaults) -> Result<Self> {
        keys.only("is_encoder_decoder", true, "an encoder without its decoder is not offered")?;
        let heads = keys.or("num_heads", defaults.heads)?;
        let layers = keys.or("num_layers", defaults.layers)?;
        let of_decoder = keys.nullable("num_decoder_layers", Some(layers))?.unwrap_or(layers);
        for (key, layers) in [("num_layers", layers), ("num_decoder_layers", of_decoder)] {
            if layers > MAX_LAYERS {
                return Err(keys.error(key, format!("at most {MAX_LAYERS}"), layers));
            }
        }
        let Whole(pad) = keys.nullable("pad_token_id", Some(Whole(0)))?.unwrap_or(Whole(0));
        let Whole(start_id) =
            keys.nullable("decoder_start_token_id", Some(Whole(pad)))?.unwrap_or(Whole(pad));
        let attention = Attention {
            heads,
            kv_heads: heads,
            head_dim: keys.or("d_kv", 64)?,
            // The factor of other models is in the weights of Q.
            scale: 1.0,
            ..Attention::default()
        };
        Ok(Self {
            vocab_size: keys.or("vocab_size", 32_128)?,
            d_model: keys.or("d_model", defaults.d_model)?,
            hidden: keys.or("d_ff", 2048)?,
            layers: [layers, of_decoder].map(|layers| layers as usize),
            attention,
            bias: RelativeBias {
                buckets: keys.or("relative_attention_num_buckets", 32)?,
                max_distance: keys.or("relative_attention_max_distance", 128)?,
            },
            norm: Norm { kind: NormKind::Rms, eps: keys.or("layer_norm_epsilon", 1e-6)? },
            tied: keys.or("tie_word_embeddings", true)?,
            start_id,
        })
    }

    /// The model with what `feed_forward` has for a stack, 0 the encoder and 1 the decoder, and a layer of it.
    pub fn model(self, name: &str, scaled: bool, feed_forward: impl Fn(usize, usize) -> Op) -> ModelConfig {
        let sublayer = |op| SubLayer::new(self.norm, op);
        let of_encoder = Attention { bidirectional: true, ..self.attention.clone() };
        let encoder = |layer| {
            let attention = Op::Attention(of_encoder.clone());
            Block { sublayers: [attention, feed_forward(0, layer)].map(sublayer).to_vec() }
        };
        let decoder = |layer| {
            let attention = [Op::Attention, Op::CrossAttention].map(|op| op(self.attention.clone()));
            let ops = attention.into_iter().chain([feed_forward(1, layer)]);
            Block { sublayers: ops.map(sublayer).collect() }
        };
        ModelConfig {
            name: name.to_owned(),
            vocab_size: self.vocab_size,
            hidden_size: self.d_model,
            context_length: CONTEXT_LENGTH,
            embedding_scale: 1.0,
            learned_positions: false,
            layer_inputs: None,
            streams: None,
            encoder: Some(Encoder {
                blocks: (0..self.layers[0]).map(encoder).collect(),
                final_norm: self.norm,
                start_id: self.start_id,
                relative_bias: Some(self.bias),
            }),
            relative_bias: Some(self.bias),
            blocks: (0..self.layers[1]).map(decoder).collect(),
            final_norm: self.norm,
            head: Head {
                tied: self.tied,
                scale: if scaled { inverse_sqrt(self.d_model.into()) } else { 1.0 },
                ..Head::default()
            },
        }
    }

    /// Every how many layers of a stack there are experts: as a key says, or as many as make up another key's number.
    pub fn sparse_step(keys: &Keys<'_>, names: [&str; 2], layers: usize) -> Result<usize> {
        let Whole(sparse) = keys.or(names[1], Whole(3))?;
        let even = (layers as u32).checked_div(sparse).unwrap_or(layers as u32);
        let Whole(step) = keys.or(names[0], Whole(even))?;
        Ok(step as usize)
    }
}
