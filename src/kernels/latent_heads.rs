//! Queries and keys of multi-head latent attention, as one key/value head sees them.

use super::attention::{MAX_HEAD_DIM, MAX_KEY_DIM};
use super::linear::block_layout;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{CacheFormat, Codec, Reduce};
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::quant::WeightFormat;
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `latent_heads`.
    pub struct LatentHeadsParams {
        /// Query heads, `H`.
        pub heads: u32,
        /// Elements of a query's head that are not rotated, `n`.
        pub nope_dim: u32,
        /// Elements that are, of each query's head and of the key that all share, `r`.
        pub rotary_dim: u32,
        /// Elements of a latent, `c`.
        pub in_features: u32,
        /// `u32` words of one weight row, padding included.
        pub row_words: u32,
        /// Scale blocks of one weight row.
        pub blocks: u32,
        /// log2 of the elements per block; 31 where a row is one block.
        pub block_shift: u32,
        /// Rows of the keys' destination.
        pub slots: u32,
        /// Of the latent's norm.
        pub eps: f32,
    }
}

impl LatentHeadsParams {
    /// So many heads with matrices `[n, c]` stored as `format`, and a destination of so many rows.
    pub fn new(
        format: WeightFormat,
        heads: u32,
        [nope_dim, rotary_dim, in_features]: [u32; 3],
        slots: u32,
        eps: f32,
    ) -> Self {
        let (blocks, block_shift) = block_layout(format, in_features);
        let row_words = format.row_words(in_features as usize) as u32;
        Self { heads, nope_dim, rotary_dim, in_features, row_words, blocks, block_shift, slots, eps }
    }

    /// Elements of a query's head as it comes.
    fn head_dim(&self) -> u32 {
        self.nope_dim.saturating_add(self.rotary_dim)
    }

    /// Elements of a query and of a key as attention takes them.
    fn key_dim(&self) -> u32 {
        self.in_features.saturating_add(self.rotary_dim)
    }
}

/// Lanes of a workgroup.
const LANES: u32 = 64;
/// Elements of a query that a workgroup computes: 16 pieces of 16.
const TILE: u32 = 256;

/// The absorbed form of multi-head latent attention (arXiv 2405.04434, section 2.1.2): `q . (W_k c) = (q W_k) . c`, so that the
/// latents `c` themselves are the keys of all heads, and nothing else is cached but the part that is rotated.
///
/// Queries `[rows, H, n + r]` become `[rows, H, c + r]`, latents `[rows, c + r]` become keys, `slots` rows of `c + r` elements; the heads'
/// matrices are `[H, n, c]`. The latent is RMS-normed, and the last `r` elements of both are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LatentHeads {
    /// How the heads' matrices are stored.
    pub codec: Codec,
    /// Whether pairs are neighbours instead of half the rotated part apart.
    pub interleaved: bool,
    /// Elements of a key, `c + r`, at most [`MAX_KEY_DIM`].
    pub key_dim: u32,
    /// What keys are stored as where they go into the cache by position (decode, a row at a time); absent: they go into a chunk's
    /// buffer by row, in f32 (prefill).
    pub to: Option<CacheFormat>,
    /// How lanes add.
    pub reduce: Reduce,
}

impl LatentHeads {
    /// Rows that share what is decoded.
    fn rows(self) -> u32 {
        if self.to.is_some() { 1 } else { 4 }
    }

    /// How keys are stored where they go.
    fn format(self) -> CacheFormat {
        self.to.unwrap_or_default()
    }
}

impl Kernel for LatentHeads {
    type Params = LatentHeadsParams;
    const NAME: &'static str = "latent_heads";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("latent_heads.wgsl")).with_span();
        let source = source.with(match self.interleaved {
            true => fragment!("rotate/interleaved.wgsl"),
            false => fragment!("rotate/half_split.wgsl"),
        });
        let source = self.format().store_added(false, self.codec.add_to(source));
        self.reduce
            .add_to(source)
            .constant("WORKGROUP_SIZE", LANES)
            .constant("ROWS", self.rows())
            .constant("HEAD_DIM", self.key_dim)
            .flag("TO_CACHE", self.to.is_some())
    }

    fn bindings(self) -> Vec<Binding> {
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(4, "q"),
            Binding::read(9, "latent"),
            Binding::read(6, "latent_norm"),
            Binding::read(7, "rope_table"),
            Binding::write(8, "q_out"),
            Binding::write(5, "k_out"),
        ]
        .into_iter()
        .chain(self.codec.bindings())
        .collect()
    }

    fn variants() -> Vec<Self> {
        // Widths are those of the smallest model, of one that divides nothing, and of the published ones, in turn.
        let mut key_dims = [3, 43, MAX_KEY_DIM].into_iter().cycle();
        let mut of = |(codec, to)| {
            // Either way to rotate with either way to add.
            [(false, Reduce::Workgroup), (true, Reduce::Subgroup)]
                .into_iter()
                .zip(&mut key_dims)
                .map(|((interleaved, reduce), key_dim)| Self { codec, interleaved, key_dim, to, reduce })
                .collect::<Vec<_>>()
        };
        let to = || [None].into_iter().chain(CacheFormat::ALL.map(Some));
        Codec::all().flat_map(|codec| to().map(move |to| (codec, to))).flat_map(&mut of).collect()
    }

    fn check(self, params: &LatentHeadsParams) -> Result<()> {
        let LatentHeadsParams { heads, nope_dim, rotary_dim, in_features, slots, .. } = *params;
        positive(Self::NAME, [("heads", heads), ("nope_dim", nope_dim), ("slots", slots)])?;
        at_most(Self::NAME, "in_features", MAX_HEAD_DIM, in_features)?;
        let pairs = rotary_dim.is_multiple_of(2) && rotary_dim <= MAX_KEY_DIM - in_features;
        let expected = format_args!("an even number up to {}", MAX_KEY_DIM - in_features);
        require(Self::NAME, "rotary_dim", pairs, expected, rotary_dim)?;
        let counted = heads.checked_mul(nope_dim).is_some();
        require(Self::NAME, "nope_dim", counted, "fewer than 2^32 rows of all heads", nope_dim)?;
        let width = params.key_dim();
        require(Self::NAME, "key_dim", width == self.key_dim, format_args!("{width}"), self.key_dim)?;
        self.codec.check_row(Self::NAME, in_features, params.row_words, (params.blocks, params.block_shift))
    }

    fn sizes(self, params: &LatentHeadsParams, rows: u32) -> Vec<(&'static str, u64)> {
        let LatentHeadsParams { heads, nope_dim, rotary_dim, in_features, .. } = *params;
        let key_dim = params.key_dim();
        // A chunk has a place for every row.
        let slots = if self.to.is_some() { params.slots } else { params.slots.max(rows) };
        [
            ("q", bytes([rows, heads, params.head_dim()])),
            ("latent", bytes([rows, key_dim])),
            ("latent_norm", bytes([in_features])),
            // No binding is empty, and an entry is a cosine and a sine.
            ("rope_table", bytes([rows, rotary_dim / 2, 2]).max(8)),
            ("q_out", bytes([rows, heads, key_dim])),
            ("k_out", bytes([slots, self.format().row_words(key_dim)])),
        ]
        .into_iter()
        .chain(self.codec.sizes([heads, nope_dim], params.row_words, params.blocks))
        .collect()
    }

    fn workgroups(self, params: &LatentHeadsParams, span: Span) -> u64 {
        let blocks = u64::from(span.rows.div_ceil(self.rows()));
        let of_queries = u64::from(params.heads) * u64::from(params.in_features.div_ceil(TILE));
        blocks * (of_queries + u64::from(self.rows()))
    }

    fn work(self, params: &LatentHeadsParams, span: Span) -> Work {
        let [heads, nope_dim, rotary_dim, in_features] =
            [params.heads, params.nope_dim, params.rotary_dim, params.in_features].map(u64::from);
        let [head_dim, key_dim] = [params.head_dim(), params.key_dim()].map(u64::from);
        let (rows, blocks) = (u64::from(span.rows), u64::from(span.rows.div_ceil(self.rows())));
        let (matrix_rows, block_rows) = (heads * nope_dim, u64::from(self.rows()));
        let words = matrix_rows * self.codec.read_bytes(params.in_features);
        let scales = matrix_rows * self.codec.scale_bytes(params.blocks);
        let scale_requests = matrix_rows * self.codec.scale_bytes(params.in_features.div_ceil(16));
        let weights = matrix_rows * in_features;
        let decoded = blocks * matrix_rows * in_features.next_multiple_of(16);
        let turned = rows * (heads + 1) * rotary_dim;
        let (read, requested) =
            (rows * (heads * head_dim + key_dim), rows * (2 * in_features + 2 * (heads + 1) * rotary_dim));
        // A lane reads an element of the query for each piece that it meets.
        let requested = requested + blocks * block_rows * matrix_rows * in_features.div_ceil(16);
        let kv_class = if self.to.is_some() { ByteClass::KvWrite } else { ByteClass::ActOut };
        let (queries, keys) = (rows * heads * key_dim * 4, rows * self.format().row_bytes(params.key_dim()));
        let work = self
            .format()
            .store_work(rows, params.key_dim(), Work::default())
            .with_bytes(ByteClass::Weight, words + in_features * 4, blocks * words + rows * in_features * 4)
            .with_bytes(ByteClass::ScaleZp, scales, blocks * scale_requests)
            .with_bytes(ByteClass::ActIn, read * 4, requested * 4)
            .with_bytes(ByteClass::Index, rows * rotary_dim * 4, turned * 8)
            .with_bytes(ByteClass::ActOut, queries, queries)
            .with_bytes(kv_class, keys, keys)
            .with_ops(
                OpClass::F32Fma,
                rows * (weights + in_features),
                block_rows * (decoded + blocks * in_features),
            )
            .with_ops(
                OpClass::F32Other,
                3 * turned + 2 * rows * in_features,
                3 * turned + 2 * rows * in_features,
            )
            .with_ops(OpClass::Sfu, rows, blocks * block_rows * u64::from(LANES));
        self.codec.work(weights, decoded, work)
    }
}
