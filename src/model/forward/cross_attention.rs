//! Attention to an encoder: its keys and values once for each input, then queries only.

use super::linear::{Input, NormEnd};
use super::{End, ForwardPass};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Epilogue, Reach};
use crate::kernel::Launch;
use crate::kernels::attention::{self as kernel, AttentionParams};
use crate::model::config::Attention;
use crate::model::layout::{CrossAttentionLayout, OpLayout, SubLayerLayout, Vectors};
use crate::model::slot::{Place, Stack};
use crate::schedule::TensorId;

impl ForwardPass<'_> {
    /// `end(out(attend(q(input))))` over the encoder's keys and values, which are there.
    pub(super) fn cross_attention(
        &mut self,
        input: Input<'_>,
        weights: &CrossAttentionLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        let attention = &weights.config;
        let q = self.project("q", input, &weights.q, Epilogue::NONE)?;
        let kv = self.encoded(attention);
        let length = self.schedule.named("encoder_length", 4);
        let phase = self.options.phase;
        let split_keys = kernel::split_keys(attention.head_dim);
        let params = AttentionParams {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            slots: self.options.encoder_tokens,
            pages: 0,
            chunk_slots: 0,
            reach: 0,
            split_keys,
            max_splits: self.options.encoder_tokens.div_ceil(split_keys),
            scale: attention.scale,
            softcap: attention.softcap.unwrap_or(1.0),
            alibi_scale: 0.0,
        };
        let variant = kernel::Attention {
            softcap: attention.softcap.is_some(),
            reach: Reach::Encoder,
            v_is_k: attention.v_is_k,
            sinks: attention.sinks && phase == Phase::Prefill,
            ..kernel::Attention::new(attention.head_dim, phase)
        };
        let variant = variant.for_heads(attention.heads, attention.kv_heads);
        let keys = [("q", q), ("k_cache", kv), ("v_cache", kv), ("encoder_length", length)];
        let mixed = match phase {
            Phase::Prefill => {
                let out = self.schedule.activation("mixed", self.row_bytes(attention.q_rows()));
                let mut tensors = [&keys[..], &[("out", out)]].concat();
                tensors.extend(weights.sinks.iter().map(|sinks| ("sinks", self.vectors(sinks))));
                self.attend_prompt(&weights.q, variant, params, &tensors)?;
                out
            }
            Phase::Decode => {
                let parts = self.parts(attention, &params);
                let tensors = [&keys[..], &[("parts", parts)]].concat();
                self.dispatch("attend", Launch { variant, params }, &tensors)?;
                let beside = [("encoder_length", length)];
                self.merge((attention, Reach::Encoder), params, (parts, &beside), weights.sinks.as_ref())?
            }
        };
        self.add("out", Input::plain(mixed), &weights.out, end)
    }

    /// The end of an encoder's pass: its norm, and the keys and values of every cross-attention of the decoder.
    pub(super) fn encode_for_decoder(&mut self, x: TensorId, norm: &Vectors) -> Result<()> {
        let layout = self.layout;
        let width = self.row_bytes(self.config.hidden_size);
        let output =
            self.traced(&format!("hidden.{}", self.layout.blocks_of(self.options.stack).len()), width);
        self.norm("final_norm", Input::plain(x), norm, (None, NormEnd::NONE), output)?;
        for (block, layers) in layout.blocks_of(Stack::Decoder).iter().enumerate() {
            for (sublayer, layer) in layers.iter().enumerate() {
                self.encode_for(Place::sublayer(block, sublayer), layer, output)?;
            }
        }
        self.place = Place::Encoder;
        Ok(())
    }

    fn encode_for(&mut self, place: Place, layer: &SubLayerLayout, output: TensorId) -> Result<()> {
        match &layer.op {
            OpLayout::CrossAttention(cross) => {
                self.place = place;
                let kv = self.encoded(&cross.config);
                self.project_into("kv", Input::plain(output), &cross.kv, Epilogue::NONE, kv, false)
            }
            OpLayout::Parallel(branches) => {
                let mut branches = branches.iter().enumerate();
                branches.try_for_each(|(n, branch)| self.encode_for(place.branch(n), branch, output))
            }
            OpLayout::Attention(_) | OpLayout::LatentAttention(_) | OpLayout::FeedForward(_) => Ok(()),
            OpLayout::Experts(_) | OpLayout::LayerInput(_) => Ok(()),
        }
    }

    /// Keys and values of the encoder's tokens for the cross-attention at hand, `[encoder_tokens, 2, G, h]`.
    fn encoded(&mut self, attention: &Attention) -> TensorId {
        let heads = if attention.v_is_k { 1 } else { 2 };
        let bytes = u64::from(self.options.encoder_tokens) * u64::from(attention.kv_rows()) * heads * 4;
        self.schedule.named(self.place.name("encoder_kv"), bytes)
    }
}
