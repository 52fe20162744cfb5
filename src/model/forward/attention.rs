//! The attention sub-layer: projections, heads, scores, output.

use super::linear::Input;
use super::{End, ForwardPass};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Epilogue, Reach, Reduce, ScoreBias};
use crate::kernel::Launch;
use crate::kernels::attention::{self as kernel, AttentionParams};
use crate::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use crate::kernels::kv_write::{KvWrite, KvWriteParams};
use crate::kernels::rope::{QkNorm, Rope as RopeKernel, RopeParams};
use crate::model::config::{Attention, RopeLayout};
use crate::model::layout::{AttentionLayout, Vectors};
use crate::schedule::TensorId;

/// Keys that one workgroup of a split decode walks: a megabyte of keys and values would be too much for one.
pub(super) fn split_keys(head_dim: u32) -> u32 {
    (65_536 / head_dim).min(256)
}

/// Rows per head of an attention sub-layer's cache: the window or the chunk of a local layer, else the whole context.
fn cache_slots(attention: &Attention, context: u32) -> u32 {
    attention.reach().map_or(context, |reach| reach.min(context))
}

fn reach(attention: &Attention) -> Reach {
    match (attention.bidirectional, attention.chunk) {
        (true, _) => Reach::Both,
        (false, Some(_)) => Reach::Chunk,
        (false, None) => Reach::Window,
    }
}

/// Queries, and this pass's keys and values where attention reads them.
struct Heads {
    q: TensorId,
    k: TensorId,
    v: TensorId,
}

impl ForwardPass<'_> {
    /// `end(out(attend(rope(qkv(input)))))`.
    pub(super) fn attention(
        &mut self,
        input: Input<'_>,
        weights: &AttentionLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        let attention = &weights.config;
        let qkv = self.project("qkv", input, &weights.qkv, Epilogue::NONE)?;
        if attention.bidirectional {
            let mixed = self.attend_both_ways(weights, qkv)?;
            return self.add("out", Input::plain(mixed), &weights.out, end);
        }
        let cache = self.cache(attention);
        let heads = self.heads(
            attention,
            weights.head_norm.as_ref(),
            qkv,
            Some(cache).filter(|_| self.options.phase == Phase::Decode),
        )?;
        let mixed = match self.options.phase {
            Phase::Prefill => {
                let mixed = self.attend_whole(weights, &heads, &cache)?;
                self.kv_write(attention, &heads, &cache)?;
                mixed
            }
            Phase::Decode => self.attend_split(weights, heads.q, &cache)?,
        };
        self.add("out", Input::plain(mixed), &weights.out, end)
    }

    fn cache(&mut self, attention: &Attention) -> [TensorId; 2] {
        let slots = cache_slots(attention, self.options.context);
        let bytes = u64::from(attention.kv_rows()) * u64::from(slots) * 4;
        ["k_cache", "v_cache"].map(|part| self.schedule.named(self.place.name(part), bytes))
    }

    /// Norms and rotates heads. A prompt's keys wait in a chunk of their own until attention has read the slots
    /// they will take; a single token's go straight into the cache, over the key that left the window.
    fn heads(
        &mut self,
        attention: &Attention,
        head_norm: Option<&Vectors>,
        qkv: TensorId,
        cache: Option<[TensorId; 2]>,
    ) -> Result<Heads> {
        let to_cache = cache.is_some();
        let slots =
            if to_cache { cache_slots(attention, self.options.context) } else { self.schedule.max_rows };
        let q = self.schedule.activation("q", self.row_bytes(attention.q_rows()));
        let [k, v] = match cache {
            Some(cache) => cache,
            None => {
                let bytes = self.row_bytes(attention.kv_rows());
                ["k_chunk", "v_chunk"].map(|name| self.schedule.activation(name, bytes))
            }
        };
        let variant = RopeKernel {
            head_dim: attention.head_dim,
            qk_norm: match head_norm {
                None => QkNorm::None,
                Some(_) if attention.qk_norm_of_all_heads => QkNorm::AllHeads,
                Some(_) => QkNorm::Head,
            },
            v_norm: attention.v_norm,
            v_is_k: attention.v_is_k,
            interleaved: attention.rope.is_some_and(|rope| rope.layout == RopeLayout::Interleaved),
            to_cache,
            reduce: if head_norm.is_some() { Reduce::of(self.capabilities) } else { Reduce::Workgroup },
        };
        let params = RopeParams {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            rotary_dim: attention.rope.map_or(0, |rope| rope.rotary_dim),
            slots,
            eps: head_norm.map_or(0.0, Vectors::eps),
            clip: attention.qkv_clip.unwrap_or(f32::MAX),
            temperature_scale: attention.temperature.map_or(0.0, |temperature| temperature.scale),
            temperature_floor: attention.temperature.map_or(0, |temperature| temperature.floor),
        };
        let table = self.rope_table(attention);
        let mut tensors = vec![("qkv", qkv), ("rope_table", table), ("q_out", q), ("k_out", k), ("v_out", v)];
        tensors.extend(head_norm.map(|norm| ("head_norm", self.vectors(norm))));
        self.dispatch("heads", Launch { variant, params }, &tensors)?;
        Ok(Heads { q, k, v })
    }

    fn attention_params(&self, attention: &Attention) -> AttentionParams {
        let slots = cache_slots(attention, self.options.context);
        let split_keys = split_keys(attention.head_dim);
        AttentionParams {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            slots,
            chunk_slots: self.schedule.max_rows,
            reach: attention.reach().unwrap_or(0),
            split_keys,
            // A window may begin and end inside a part.
            max_splits: slots.div_ceil(split_keys) + 1,
            scale: attention.scale,
            softcap: attention.softcap.unwrap_or(1.0),
        }
    }

    /// What is added to the scores of a stack's attention, and its tensor.
    fn score_bias(&mut self) -> (ScoreBias, Option<(&'static str, TensorId)>) {
        let layout = self.layout;
        let stack = self.options.stack;
        let bias = self.config.relative_bias_of(stack).zip(layout.relative_bias_of(stack));
        match bias {
            None => (ScoreBias::None, None),
            Some((bias, table)) => {
                let distance = bias.max_distance;
                (ScoreBias::Relative { distance }, Some(("relative_bias", self.vectors(table))))
            }
        }
    }

    fn variant(&self, attention: &Attention, score_bias: ScoreBias) -> kernel::Attention {
        let phase = self.options.phase;
        kernel::Attention {
            softcap: attention.softcap.is_some(),
            reach: reach(attention),
            score_bias,
            sinks: attention.sinks && phase == Phase::Prefill,
            ..kernel::Attention::new(attention.head_dim, phase)
        }
    }

    /// An encoder: tiles of queries over all of the pass's own keys, which no later pass needs.
    fn attend_both_ways(&mut self, weights: &AttentionLayout, qkv: TensorId) -> Result<TensorId> {
        let attention = &weights.config;
        let heads = self.heads(attention, weights.head_norm.as_ref(), qkv, None)?;
        let out = self.schedule.activation("mixed", self.row_bytes(attention.q_rows()));
        let (score_bias, table) = self.score_bias();
        let variant = self.variant(attention, score_bias);
        let params = AttentionParams { slots: self.schedule.max_rows, ..self.attention_params(attention) };
        let mut tensors = vec![("q", heads.q), ("k_cache", heads.k), ("v_cache", heads.v), ("out", out)];
        tensors.extend(weights.sinks.iter().map(|sinks| ("sinks", self.vectors(sinks))));
        tensors.extend(table);
        self.dispatch("attend", Launch { variant, params }, &tensors)?;
        Ok(out)
    }

    /// Prefill: tiles of queries over the old keys and the chunk's own.
    fn attend_whole(
        &mut self,
        weights: &AttentionLayout,
        heads: &Heads,
        cache: &[TensorId; 2],
    ) -> Result<TensorId> {
        let attention = &weights.config;
        let out = self.schedule.activation("mixed", self.row_bytes(attention.q_rows()));
        let (score_bias, table) = self.score_bias();
        let variant = self.variant(attention, score_bias);
        let params = self.attention_params(attention);
        let mut tensors = vec![
            ("q", heads.q),
            ("k_cache", cache[0]),
            ("v_cache", cache[1]),
            ("k_chunk", heads.k),
            ("v_chunk", heads.v),
            ("out", out),
        ];
        tensors.extend(weights.sinks.iter().map(|sinks| ("sinks", self.vectors(sinks))));
        tensors.extend(table);
        self.dispatch("attend", Launch { variant, params }, &tensors)?;
        Ok(out)
    }

    /// The chunk into the cache.
    fn kv_write(&mut self, attention: &Attention, heads: &Heads, cache: &[TensorId; 2]) -> Result<()> {
        let params = KvWriteParams {
            kv_heads: attention.kv_heads,
            head_dim: attention.head_dim,
            slots: cache_slots(attention, self.options.context),
            chunk_slots: self.schedule.max_rows,
        };
        let tensors =
            [("k_chunk", heads.k), ("v_chunk", heads.v), ("k_cache", cache[0]), ("v_cache", cache[1])];
        self.dispatch("kv_write", Launch { variant: KvWrite, params }, &tensors)
    }

    /// Decode: the cache in parts of fixed length, merged in order.
    fn attend_split(
        &mut self,
        weights: &AttentionLayout,
        q: TensorId,
        cache: &[TensorId; 2],
    ) -> Result<TensorId> {
        let attention = &weights.config;
        let params = self.attention_params(attention);
        let parts = self.parts(attention, &params);
        let (score_bias, table) = self.score_bias();
        let variant = self.variant(attention, score_bias);
        let mut tensors = vec![("q", q), ("k_cache", cache[0]), ("v_cache", cache[1]), ("parts", parts)];
        tensors.extend(table);
        self.dispatch("attend", Launch { variant, params }, &tensors)?;
        self.merge((attention, reach(attention)), params, (parts, &[]), weights.sinks.as_ref())
    }

    /// What the parts of a split attention leave.
    pub(super) fn parts(&mut self, attention: &Attention, params: &AttentionParams) -> TensorId {
        let part_elements = u64::from(params.max_splits) * u64::from(attention.head_dim + 2);
        self.schedule.activation("parts", u64::from(attention.heads) * part_elements * 4)
    }

    /// The parts of a split attention, joined; `beside` is what else says how many there are.
    pub(super) fn merge(
        &mut self,
        (attention, reach): (&Attention, Reach),
        params: AttentionParams,
        (parts, beside): (TensorId, &[(&'static str, TensorId)]),
        sinks: Option<&Vectors>,
    ) -> Result<TensorId> {
        let out = self.schedule.activation("mixed", self.row_bytes(attention.q_rows()));
        let params = AttentionMergeParams {
            heads: attention.heads,
            head_dim: attention.head_dim,
            reach: params.reach,
            split_keys: params.split_keys,
            max_splits: params.max_splits,
            slots: params.slots,
        };
        let variant = AttentionMerge { reach, sinks: sinks.is_some() };
        let mut tensors = vec![("parts", parts), ("out", out)];
        tensors.extend_from_slice(beside);
        tensors.extend(sinks.iter().map(|sinks| ("sinks", self.vectors(sinks))));
        self.dispatch("merge", Launch { variant, params }, &tensors)?;
        Ok(out)
    }
}
