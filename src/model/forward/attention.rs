//! The attention sub-layer: projections, heads, scores, output.

use super::linear::Input;
use super::{End, ForwardPass, PassOptions};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{CacheRows, CacheSlots, Epilogue, InputNorm, MatrixSize, Reach, Reduce, ScoreBias};
use crate::kernel::Launch;
use crate::kernels::attention::{self as kernel, AttentionParams};
use crate::kernels::attention_coop::AttentionCoop;
use crate::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use crate::kernels::kv_write::{KvWrite, KvWriteParams};
use crate::kernels::rope::{QkNorm, Rope as RopeKernel, RopeParams};
use crate::model::config::{Attention, RopeLayout};
use crate::model::layout::{AttentionLayout, Matrix, Vectors};
use crate::model::slot::Place;
use crate::schedule::TensorId;
use crate::tuning::ProductKernel;

/// The cache of an attention sub-layer.
struct KvCache {
    k: TensorId,
    v: TensorId,
    rows: CacheRows,
    /// Rows per head of a sequence's part, or of a page.
    slots: u32,
    /// Pages that a sequence may have, and where it has them.
    pages: u32,
    page_table: Option<TensorId>,
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
        let source = attention.kv_from.map_or(self.place, Place::SubLayer);
        let cache = self.cache(attention, source);
        let heads = self.heads(attention, weights.head_norm.as_ref(), qkv, (source, Some(&cache)))?;
        let mixed = match self.options.phase {
            Phase::Prefill => {
                let mixed = self.attend_whole(weights, &heads, &cache)?;
                if self.is_last_reader(source) {
                    self.kv_write(attention, &heads, &cache)?;
                }
                mixed
            }
            Phase::Decode => self.attend_split(weights, heads.q, &cache)?,
        };
        self.add("out", Input::plain(mixed), &weights.out, end)
    }

    /// Whether no later attention reads the cache of the attention at `source` besides the one at hand.
    fn is_last_reader(&self, source: Place) -> bool {
        let last = source.at().and_then(|source| self.last_readers.get(&source));
        last.is_none_or(|last| Some(*last) == self.place.at())
    }

    /// The cache of the attention at `source`. A local layer keeps its window or chunk, a ring for each sequence; a global one the
    /// whole context, in pages where sequences share them.
    fn cache(&mut self, attention: &Attention, source: Place) -> KvCache {
        let PassOptions { context, sequences, paging, cache: format, .. } = *self.options;
        let of_each = |slots| (CacheSlots::Own, slots, sequences, 0);
        let (places, slots, parts, pages) = match (attention.reach(), paging) {
            (Some(reach), _) => of_each(reach.min(context)),
            (None, None) => of_each(context),
            (None, Some(paging)) => {
                (CacheSlots::Paged, paging.page_tokens, paging.pages, paging.pages_of(context))
            }
        };
        let bytes = u64::from(attention.kv_heads) * u64::from(slots) * format.row_bytes(attention.head_dim);
        let paged = places == CacheSlots::Paged;
        let rows = CacheRows { slots: places, format };
        let [k, v] =
            ["k_cache", "v_cache"].map(|part| self.schedule.cache(source.name(part), parts, bytes, paged));
        let page_table =
            paged.then(|| self.schedule.named("page_table", u64::from(sequences) * u64::from(pages) * 4));
        KvCache { k, v, rows, slots, pages, page_table }
    }

    /// Norms and rotates heads. A prompt's keys wait in a chunk of their own until attention has read the slots
    /// they will take; a single token's go straight into the cache, over the key that left the window. Where they are those of
    /// another attention, at `source`, they are there already.
    fn heads(
        &mut self,
        attention: &Attention,
        head_norm: Option<&Vectors>,
        qkv: TensorId,
        (source, cache): (Place, Option<&KvCache>),
    ) -> Result<Heads> {
        let only_q = attention.kv_from.is_some();
        let to_cache = cache.filter(|_| self.options.phase == Phase::Decode);
        let slots = to_cache.map_or(self.schedule.max_rows, |cache| cache.slots);
        let q = self.schedule.activation("q", self.row_bytes(attention.q_rows()));
        let [k, v] = match to_cache {
            Some(cache) => [cache.k, cache.v],
            None => self.chunk(attention, source),
        };
        // Where they are written.
        let to_cache = to_cache.filter(|_| !only_q);
        let variant = RopeKernel {
            head_dim: attention.head_dim,
            qk_norm: match head_norm {
                None => QkNorm::None,
                Some(_) if attention.qk_norm_of_all_heads => QkNorm::AllHeads,
                Some(norm) if norm.applied() == InputNorm::Layer => {
                    QkNorm::Layer { by_head: attention.qk_norm_by_head }
                }
                Some(_) => QkNorm::Head,
            },
            v_norm: attention.v_norm,
            v_is_k: attention.v_is_k,
            only_q,
            interleaved: attention.rope.is_some_and(|rope| rope.layout == RopeLayout::Interleaved),
            to: to_cache.map(|cache| cache.rows),
            reduce: if head_norm.is_some() { Reduce::of(self.capabilities) } else { Reduce::Workgroup },
        };
        let params = RopeParams {
            heads: attention.heads,
            kv_heads: if only_q { 0 } else { attention.kv_heads },
            rotary_dim: attention.rope.map_or(0, |rope| rope.rotary_dim),
            slots,
            pages: to_cache.map_or(0, |cache| cache.pages),
            eps: head_norm.map_or(0.0, Vectors::eps),
            clip: attention.qkv_clip.unwrap_or(f32::MAX),
            temperature_scale: attention.temperature.map_or(0.0, |temperature| temperature.scale),
            temperature_floor: attention.temperature.map_or(0, |temperature| temperature.floor),
        };
        let table = self.rope_table(attention.rope);
        let mut tensors = vec![("qkv", qkv), ("rope_table", table), ("q_out", q)];
        if !only_q {
            tensors.extend([("k_out", k), ("v_out", v)]);
        }
        tensors.extend(head_norm.map(|norm| ("head_norm", self.vectors(norm))));
        let page_table = to_cache.and_then(|cache| cache.page_table);
        tensors.extend(page_table.map(|table| ("page_table", table)));
        self.dispatch("heads", Launch { variant, params }, &tensors)?;
        Ok(Heads { q, k, v })
    }

    /// Where this pass's keys and values of the attention at `source` wait.
    fn chunk(&mut self, attention: &Attention, source: Place) -> [TensorId; 2] {
        if let Some(chunk) = source.at().and_then(|source| self.chunks.get(&source)) {
            return *chunk;
        }
        let bytes = self.row_bytes(attention.kv_rows());
        let chunk = ["k_chunk", "v_chunk"].map(|name| self.schedule.activation(name, bytes));
        if let Some(source) = source.at().filter(|source| self.last_readers.contains_key(source)) {
            self.chunks.insert(source, chunk);
        }
        chunk
    }

    fn attention_params(&self, attention: &Attention, [slots, pages]: [u32; 2]) -> AttentionParams {
        let split_keys = kernel::split_keys(attention.head_dim);
        let seen = attention.reach().unwrap_or(self.options.context).min(self.options.context);
        AttentionParams {
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            slots,
            pages,
            chunk_slots: self.schedule.max_rows,
            reach: attention.reach().unwrap_or(0),
            split_keys,
            // A window may begin and end inside a part.
            max_splits: seen.div_ceil(split_keys) + 1,
            scale: attention.scale,
            softcap: attention.softcap.unwrap_or(1.0),
            alibi_scale: attention.alibi.map_or(0.0, |alibi| alibi.scale),
        }
    }

    /// What is added to the scores of an attention, and its tensor.
    fn score_bias(&mut self, attention: &Attention) -> (ScoreBias, Option<(&'static str, TensorId)>) {
        if let Some(alibi) = attention.alibi {
            return (ScoreBias::Alibi { bf16: alibi.bf16 }, None);
        }
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

    fn variant(&self, attention: &Attention, score_bias: ScoreBias, cache: CacheRows) -> kernel::Attention {
        let phase = self.options.phase;
        let variant = kernel::Attention {
            softcap: attention.softcap.is_some(),
            reach: reach(attention),
            score_bias,
            sinks: attention.sinks && phase == Phase::Prefill,
            cache,
            ..kernel::Attention::new(attention.head_dim, phase)
        };
        variant.for_heads(attention.heads, attention.kv_heads)
    }

    /// An encoder: tiles of queries over all of the pass's own keys, which no later pass needs.
    fn attend_both_ways(&mut self, weights: &AttentionLayout, qkv: TensorId) -> Result<TensorId> {
        let attention = &weights.config;
        let heads = self.heads(attention, weights.head_norm.as_ref(), qkv, (self.place, None))?;
        let out = self.schedule.activation("mixed", self.row_bytes(attention.q_rows()));
        let (score_bias, table) = self.score_bias(attention);
        let variant = self.variant(attention, score_bias, CacheRows::PLAIN);
        let params = self.attention_params(attention, [self.schedule.max_rows, 0]);
        let mut tensors = vec![("q", heads.q), ("k_cache", heads.k), ("v_cache", heads.v), ("out", out)];
        tensors.extend(weights.sinks.iter().map(|sinks| ("sinks", self.vectors(sinks))));
        tensors.extend(table);
        self.attend_prompt(&weights.qkv, variant, params, &tensors)?;
        Ok(out)
    }

    /// Attention of a prompt: on cooperative matrices where the product with `matrix` is, which makes the queries. Both round
    /// to f16, and both pay where there are enough rows.
    pub(super) fn attend_prompt(
        &mut self,
        matrix: &Matrix,
        variant: kernel::Attention,
        params: AttentionParams,
        tensors: &[(&'static str, TensorId)],
    ) -> Result<()> {
        let kernel = self.tuning.kernel(self.shape(matrix));
        let size = MatrixSize::of(self.capabilities).filter(|_| kernel == ProductKernel::MatmulCoop {});
        match size.and_then(|size| AttentionCoop::of(variant, size)) {
            Some(variant) => self.dispatch("attend", Launch { variant, params }, tensors),
            None => self.dispatch("attend", Launch { variant, params }, tensors),
        }
    }

    /// Prefill: tiles of queries over the old keys and the chunk's own.
    fn attend_whole(
        &mut self,
        weights: &AttentionLayout,
        heads: &Heads,
        cache: &KvCache,
    ) -> Result<TensorId> {
        let attention = &weights.config;
        let out = self.schedule.activation("mixed", self.row_bytes(attention.q_rows()));
        let (score_bias, table) = self.score_bias(attention);
        let variant = self.variant(attention, score_bias, cache.rows);
        let params = self.attention_params(attention, [cache.slots, cache.pages]);
        let mut tensors = vec![
            ("q", heads.q),
            ("k_cache", cache.k),
            ("v_cache", cache.v),
            ("k_chunk", heads.k),
            ("v_chunk", heads.v),
            ("out", out),
        ];
        tensors.extend(cache.page_table.map(|table| ("page_table", table)));
        tensors.extend(weights.sinks.iter().map(|sinks| ("sinks", self.vectors(sinks))));
        tensors.extend(table);
        self.attend_prompt(&weights.qkv, variant, params, &tensors)?;
        Ok(out)
    }

    /// The chunk into the cache.
    fn kv_write(&mut self, attention: &Attention, heads: &Heads, cache: &KvCache) -> Result<()> {
        let params = KvWriteParams {
            kv_heads: attention.kv_heads,
            slots: cache.slots,
            pages: cache.pages,
            chunk_slots: self.schedule.max_rows,
        };
        let mut tensors =
            vec![("k_chunk", heads.k), ("v_chunk", heads.v), ("k_out", cache.k), ("v_out", cache.v)];
        tensors.extend(cache.page_table.map(|table| ("page_table", table)));
        let variant = KvWrite { head_dim: attention.head_dim, cache: cache.rows, values: true };
        self.dispatch("kv_write", Launch { variant, params }, &tensors)
    }

    /// Decode: the cache in parts of fixed length, merged in order.
    fn attend_split(&mut self, weights: &AttentionLayout, q: TensorId, cache: &KvCache) -> Result<TensorId> {
        let attention = &weights.config;
        let params = self.attention_params(attention, [cache.slots, cache.pages]);
        let parts = self.parts(attention, &params);
        let (score_bias, table) = self.score_bias(attention);
        let variant = self.variant(attention, score_bias, cache.rows);
        let mut tensors = vec![("q", q), ("k_cache", cache.k), ("v_cache", cache.v), ("parts", parts)];
        tensors.extend(cache.page_table.map(|table| ("page_table", table)));
        tensors.extend(table);
        self.dispatch("attend", Launch { variant, params }, &tensors)?;
        self.merge((attention, reach(attention)), params, (parts, &[]), weights.sinks.as_ref())
    }

    /// What the parts of a split attention leave.
    pub(super) fn parts(&mut self, attention: &Attention, params: &AttentionParams) -> TensorId {
        let part_elements = u64::from(params.max_splits) * u64::from(attention.head_dim + 2);
        self.schedule.activation("parts", self.row_bytes(attention.heads) * part_elements)
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
