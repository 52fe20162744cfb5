//! The sub-layer of attention over latents, in its absorbed form (arXiv 2405.04434, section 2.1.2): the heads' matrices of keys
//! multiply queries and those of values multiply outputs, so that attention reads the latents themselves.

use super::linear::Input;
use super::{End, ForwardPass};
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{CacheRows, Codec, Epilogue, Reach, Reduce};
use crate::kernel::Launch;
use crate::kernels::attention::{Attention as Attend, AttentionParams, Values, split_keys};
use crate::kernels::attention_merge::{AttentionMerge, AttentionMergeParams};
use crate::kernels::kv_write::{KvWrite, KvWriteParams};
use crate::kernels::latent_heads::{LatentHeads, LatentHeadsParams};
use crate::kernels::linear::LinearParams;
use crate::kernels::matvec::VecRows;
use crate::kernels::tile_rows::TileRows;
use crate::model::config::{LatentAttention, RopeLayout};
use crate::model::layout::LatentAttentionLayout;
use crate::schedule::TensorId;
use crate::tuning::{ProductKernel, ProductPath, ProductShape};

impl ForwardPass<'_> {
    /// `end(out(values(attend(heads(q(input), kv_latent(input))))))`.
    pub(super) fn latent_attention(
        &mut self,
        mut input: Input<'_>,
        weights: &LatentAttentionLayout,
        end: End<'_>,
    ) -> Result<TensorId> {
        if !self.is_one_row() {
            // Two products read it.
            input = self.norm_first(input)?;
        }
        let latent = self.project("kv_latent", input, &weights.kv_latent, Epilogue::NONE)?;
        let q_input = match &weights.q_latent {
            Some((matrix, norm)) => {
                Input::normed(self.project("q_latent", input, matrix, Epilogue::NONE)?, norm)
            }
            None => input,
        };
        let q = self.project("q", q_input, &weights.q, Epilogue::NONE)?;
        let attention = &weights.config;
        let sequence_bytes =
            self.options.cache.row_bytes(attention.kv_rows()) * u64::from(self.options.context);
        let name = self.place.name("k_cache");
        let cache = self.schedule.cache(name, self.options.sequences, sequence_bytes, false);
        let mixed = match self.options.phase {
            Phase::Prefill => {
                let chunk_bytes = self.row_bytes(attention.kv_rows());
                let chunk = self.schedule.activation("k_chunk", chunk_bytes);
                let q = self.latent_heads(weights, [q, latent], chunk)?;
                let mixed = self.attend_latents(weights, q, cache, chunk)?;
                self.latent_write(attention, chunk, cache)?;
                mixed
            }
            Phase::Decode => {
                let q = self.latent_heads(weights, [q, latent], cache)?;
                self.attend_latents_split(attention, q, cache)?
            }
        };
        let values = self.latent_values(weights, mixed)?;
        self.add("out", Input::plain(values), &weights.out, end)
    }

    /// Queries as the latents see them; and the latents, normed, with the key that is rotated, into `keys`.
    fn latent_heads(
        &mut self,
        weights: &LatentAttentionLayout,
        [q, latent]: [TensorId; 2],
        keys: TensorId,
    ) -> Result<TensorId> {
        let (attention, matrix) = (&weights.config, &weights.k);
        let to_cache = self.options.phase == Phase::Decode;
        let q_out =
            self.schedule.activation("latent_q", self.row_bytes(attention.heads * attention.kv_rows()));
        let variant = LatentHeads {
            codec: Codec::of(matrix.format, self.capabilities),
            interleaved: attention.rope.layout == RopeLayout::Interleaved,
            key_dim: attention.kv_rows(),
            to: to_cache.then_some(self.options.cache),
            reduce: Reduce::of(self.capabilities),
        };
        let params = LatentHeadsParams::new(
            matrix.format,
            attention.heads,
            [attention.nope_dim, attention.rope.rotary_dim, attention.kv_latent],
            if to_cache { self.options.context } else { self.schedule.max_rows },
            weights.kv_norm.eps(),
        );
        let mut tensors = vec![
            ("q", q),
            ("latent", latent),
            ("latent_norm", self.vectors(&weights.kv_norm)),
            ("rope_table", self.rope_table(Some(attention.rope))),
            ("q_out", q_out),
            ("k_out", keys),
        ];
        tensors.extend(self.weight_tensors(matrix, 0));
        self.dispatch("heads", Launch { variant, params }, &tensors)?;
        Ok(q_out)
    }

    /// Slots of each sequence's own.
    fn latent_rows(&self) -> CacheRows {
        CacheRows { format: self.options.cache, ..CacheRows::PLAIN }
    }

    /// Attention of all heads to the one row of each token, whose first elements are its values.
    fn attend_variant(&self, attention: &LatentAttention) -> Attend {
        let (values, cache) = (Values::InKeys(attention.kv_latent), self.latent_rows());
        let plain = Attend::new(attention.kv_rows(), self.options.phase);
        Attend { values, cache, ..plain }.for_heads(attention.heads, 1)
    }

    fn latent_params(&self, attention: &LatentAttention) -> AttentionParams {
        let split_keys = split_keys(attention.kv_rows());
        AttentionParams {
            heads: attention.heads,
            kv_heads: 1,
            slots: self.options.context,
            pages: 0,
            chunk_slots: self.schedule.max_rows,
            reach: 0,
            split_keys,
            max_splits: self.options.context.div_ceil(split_keys),
            scale: attention.scale,
            softcap: 1.0,
            alibi_scale: 0.0,
        }
    }

    /// Prefill: tiles of queries over the old latents and the chunk's own.
    fn attend_latents(
        &mut self,
        weights: &LatentAttentionLayout,
        q: TensorId,
        cache: TensorId,
        chunk: TensorId,
    ) -> Result<TensorId> {
        let attention = &weights.config;
        let out = self.schedule.activation("mixed", self.row_bytes(attention.heads * attention.kv_latent));
        let (variant, params) = (self.attend_variant(attention), self.latent_params(attention));
        let tensors = [("q", q), ("k_cache", cache), ("k_chunk", chunk), ("out", out)];
        self.attend_prompt(&weights.q, variant, params, &tensors)?;
        Ok(out)
    }

    /// The chunk into the cache.
    fn latent_write(&mut self, attention: &LatentAttention, chunk: TensorId, cache: TensorId) -> Result<()> {
        let params = KvWriteParams {
            kv_heads: 1,
            slots: self.options.context,
            pages: 0,
            chunk_slots: self.schedule.max_rows,
        };
        let variant = KvWrite { head_dim: attention.kv_rows(), cache: self.latent_rows(), values: false };
        self.dispatch("kv_write", Launch { variant, params }, &[("k_chunk", chunk), ("k_out", cache)])
    }

    /// Decode: the cache in parts of fixed length, merged in order.
    fn attend_latents_split(
        &mut self,
        attention: &LatentAttention,
        q: TensorId,
        cache: TensorId,
    ) -> Result<TensorId> {
        let params = self.latent_params(attention);
        let part_elements = u64::from(params.max_splits) * u64::from(attention.kv_latent + 2);
        let parts = self.schedule.activation("parts", self.row_bytes(attention.heads) * part_elements);
        let variant = self.attend_variant(attention);
        let tensors = [("q", q), ("k_cache", cache), ("parts", parts)];
        self.dispatch("attend", Launch { variant, params }, &tensors)?;
        let out = self.schedule.activation("mixed", self.row_bytes(attention.heads * attention.kv_latent));
        let AttentionParams { heads, reach, split_keys, max_splits, slots, .. } = params;
        let params = AttentionMergeParams {
            heads,
            head_dim: attention.kv_latent,
            reach,
            split_keys,
            max_splits,
            slots,
        };
        let variant = AttentionMerge { reach: Reach::Window, sinks: false };
        self.dispatch("merge", Launch { variant, params }, &[("parts", parts), ("out", out)])?;
        Ok(out)
    }

    /// Each head's weighted latents, `[rows, H, c]`, as its values, `[rows, H, v]`: a product with a matrix for each head.
    /// Latents that are weighted never become codes: what a head's values are made of, as the model has it, are those of
    /// each token.
    fn latent_values(&mut self, weights: &LatentAttentionLayout, mixed: TensorId) -> Result<TensorId> {
        let (attention, matrix) = (&weights.config, &weights.v);
        let values = self.schedule.activation("values", self.row_bytes(attention.v_rows()));
        let mut params = LinearParams::dense(matrix.format, attention.value_dim, attention.kv_latent);
        params.choices = attention.heads;
        let mut tensors = vec![("x", mixed), ("y", values)];
        tensors.extend(self.weight_tensors(matrix, 0));
        let shape = ProductShape { path: ProductPath::Float, ..self.shape(matrix) };
        let rows = TileRows::Heads(attention.heads);
        let kernel = match self.options.phase {
            Phase::Decode => ProductKernel::Matvec(self.tuning.one_row(shape).0),
            Phase::Prefill => self.tuning.kernel(shape),
        };
        match kernel {
            ProductKernel::Matvec(tile) | ProductKernel::MatvecI8(tile) => {
                let (way, rows) = ((tile, kernel.inputs(matrix.cols)), VecRows::Tiles(rows));
                self.in_rows(
                    "values",
                    (matrix, way),
                    (Epilogue::NONE, rows),
                    params,
                    Input::plain(mixed),
                    &tensors,
                )
            }
            ProductKernel::Matmul {} | ProductKernel::MatmulI8 {} | ProductKernel::MatmulCoop {} => {
                self.in_tiles("values", (matrix, kernel), (Epilogue::NONE, rows), params, &tensors)
            }
        }?;
        Ok(values)
    }
}
