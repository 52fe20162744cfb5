//! Attention over the cache: prefill in tiles of queries, decode split over the keys.

mod source;
mod tile;
mod variants;
mod work;

pub use work::visible_pairs;
pub(super) use work::{Steps, of as work_of, sink_work};

use tile::{MAX_KEYS, Tile};

use crate::Result;
use crate::energy::{Phase, Work};
use crate::fragments::{CacheRows, Reach, ScoreBias};
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Fragment, Source, fragment};

params! {
    /// The uniform of `attention`.
    pub struct AttentionParams {
        /// Query heads, `H`.
        pub heads: u32,
        /// Key/value heads, `G`.
        pub kv_heads: u32,
        /// Rows per head of a sequence's cache, or of a page.
        pub slots: u32,
        /// Pages that a sequence may have.
        pub pages: u32,
        /// Rows per head of a chunk's own keys.
        pub chunk_slots: u32,
        /// Tokens of a window or of a chunk; 0: a query sees all before it.
        pub reach: u32,
        /// Keys per workgroup where the cache is split.
        pub split_keys: u32,
        /// Parts there can be.
        pub max_splits: u32,
        /// Multiplies `q . k`.
        pub scale: f32,
        /// Of the soft-cap.
        pub softcap: f32,
        /// Of ALiBi.
        pub alibi_scale: f32,
    }
}

/// Streaming-softmax attention with shared key/value heads (arXiv 2112.05682, 2205.14135; 2305.13245).
///
/// `q` is `[rows, H, h]`, the caches of keys and of values `[sequences or pages, G, slots]` rows, of `h` and of `v` elements. An
/// encoder's keys and values are `[slots, 2, G, h]`, bound as both caches. Where all is seen, the caches are the call's own keys and
/// values, `[G, slots, h]`. Else prefill also reads its own keys and values, `[G, chunk_slots, h]` and `v`. Prefill writes
/// `[rows, H, v]`; decode writes parts for `attention_merge`, `[rows H, max_splits, v + 2]`: sums, the maximum score, the weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Width of a query and of a key, 1 to [`MAX_KEY_DIM`].
    pub head_dim: u32,
    /// Width of a value, and where values are.
    pub values: Values,
    /// Whether scores are soft-capped.
    pub softcap: bool,
    /// What a query sees.
    pub reach: Reach,
    /// What is added to scores.
    pub score_bias: ScoreBias,
    /// Whether values are an encoder's keys. Others have their own place all the same.
    pub v_is_k: bool,
    /// Whether each head has a stored logit more (arXiv 2508.10925). Decode leaves it to `attention_merge`.
    pub sinks: bool,
    /// Where keys are and how they are divided among workgroups. Prefill: old keys in the cache, this call's own in
    /// its chunk, one workgroup sees all of them. Decode: one row of each sequence, every key in the cache, split over
    /// workgroups for `attention_merge`.
    pub phase: Phase,
    /// Where the cache is, and how its rows are stored.
    pub cache: CacheRows,
    /// Queries of a key/value head that share a workgroup, and so one pass over the keys: a power of two up to
    /// [`MAX_QUERIES`], fewer of wide values.
    pub queries: u32,
}

/// Where values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Values {
    /// In rows of their own, of so many elements: 1 to [`MAX_HEAD_DIM`].
    Own(u32),
    /// The first so many elements of the keys are the values: the latents of multi-head latent attention (arXiv 2405.04434,
    /// section 2.1), which every head of a key multiplies as it is.
    InKeys(u32),
}

impl Values {
    /// Elements of a value.
    pub fn dim(self) -> u32 {
        match self {
            Self::Own(dim) | Self::InKeys(dim) => dim,
        }
    }

    fn are_own(self) -> bool {
        matches!(self, Self::Own(_))
    }
}

/// Widest value: a lane keeps 64 sums where there are 256 lanes for 32 queries.
pub const MAX_HEAD_DIM: u32 = 512;

/// Widest key, beyond the 576 elements of DeepSeek's latents (arXiv 2412.19437, section 4.2).
pub const MAX_KEY_DIM: u32 = 768;

/// Most queries that share one pass over the keys: they, their scores, and a slice of keys fill the 16 KiB of workgroup memory that
/// every device has.
pub const MAX_QUERIES: u32 = 128;

/// Most elements of outputs that a workgroup sums up at a time, 64 in each of 256 lanes.
const SUMS: u32 = 64 * 256;

/// Queries of a prompt that share one.
const PREFILL_QUERIES: u32 = 16;

/// Workgroups that a few queries are spread over where each has more than [`MANY_KEYS`] to walk.
const SPREAD: u32 = 32;
const MANY_KEYS: u32 = 256;

/// Keys that one workgroup of a split decode walks: whole tiles of them, at most a quarter of a megabyte of keys where they are not
/// wider than that.
pub fn split_keys(head_dim: u32) -> u32 {
    ((65_536 / head_dim).min(256) / MAX_KEYS).max(1) * MAX_KEYS
}

/// Parts of a decode at `position` that sees keys from `first`, cut at multiples of `split_keys`.
pub fn split_count(first: u32, position: u32, split_keys: u32) -> u32 {
    position / split_keys - first / split_keys + 1
}

/// Bytes of the parts of a split attention.
pub(crate) fn part_bytes([rows, heads]: [u32; 2], max_splits: u32, value_dim: u32) -> u64 {
    bytes([rows, heads, max_splits, value_dim.saturating_add(2)])
}

impl Kernel for Attention {
    type Params = AttentionParams;
    const NAME: &'static str = "attention";

    fn source(self) -> Source {
        let source =
            Source::kernel(Self::NAME, fragment!("attention.wgsl")).with(fragment!("entry/plain.wgsl"));
        self.add_to(self.tile().add_to(source, self.head_dim))
    }

    fn bindings(self) -> Vec<Binding> {
        let mut bindings =
            vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "q"), Binding::read(3, "k_cache")];
        bindings.extend(self.values.are_own().then_some(Binding::read(4, "v_cache")));
        match self.phase {
            Phase::Prefill => bindings.push(Binding::write(5, "out")),
            Phase::Decode => bindings.push(Binding::write(5, "parts")),
        }
        if self.has_chunk() {
            bindings.push(Binding::read(6, "k_chunk"));
            bindings.extend(self.values.are_own().then_some(Binding::read(7, "v_chunk")));
        }
        bindings.extend(self.sinks.then_some(SINKS));
        bindings.extend(self.cache.slots.binding());
        bindings.extend(self.score_bias.binding());
        bindings.extend(self.reach.binding());
        bindings
    }

    fn variants() -> Vec<Self> {
        variants::all()
    }

    fn check(self, params: &AttentionParams) -> Result<()> {
        self.check_for(Self::NAME, params)
    }

    fn sizes(self, params: &AttentionParams, rows: u32) -> Vec<(&'static str, u64)> {
        let AttentionParams { heads, kv_heads, slots, max_splits, .. } = *params;
        let (key_dim, value_dim) = (self.head_dim, self.values.dim());
        let slots = if self.reach == Reach::Both { slots.max(rows) } else { slots };
        let beside = if self.reach == Reach::Encoder && !self.v_is_k { 2 } else { 1 };
        let of = |slots, dim| bytes([kv_heads, slots, dim]);
        let cached = |dim| of(slots, self.cache.format.row_words(dim)).saturating_mul(beside);
        let mut sizes = vec![("q", bytes([rows, heads, key_dim])), ("k_cache", cached(key_dim))];
        sizes.extend(self.values.are_own().then(|| ("v_cache", cached(value_dim))));
        if self.has_chunk() {
            // Every row of the call has its keys in the chunk.
            let slots = params.chunk_slots.max(rows);
            sizes.push(("k_chunk", of(slots, key_dim)));
            sizes.extend(self.values.are_own().then(|| ("v_chunk", of(slots, value_dim))));
        }
        match self.phase {
            Phase::Prefill => sizes.push(("out", bytes([rows, heads, value_dim]))),
            Phase::Decode => sizes.push(("parts", part_bytes([rows, heads], max_splits, value_dim))),
        }
        sizes.extend(self.sinks.then_some((SINKS.name, bytes([heads]))));
        sizes.extend(self.cache.slots.size(params.pages));
        sizes.extend(self.score_bias.size(heads));
        sizes.extend(self.reach.binding().map(|binding| (binding.name, 4)));
        sizes
    }

    fn workgroups(self, params: &AttentionParams, span: Span) -> u64 {
        self.workgroups_of(params, &[span])
    }

    fn workgroups_of(self, params: &AttentionParams, spans: &[Span]) -> u64 {
        let tiles = |span: &Span| {
            let queries = u64::from(span.rows) * u64::from(params.heads / params.kv_heads);
            queries.div_ceil(u64::from(self.queries_per_tile(params, *span)))
        };
        let splits = |span: &Span| match self.phase {
            Phase::Prefill => 1,
            Phase::Decode => self.splits(params, *span),
        };
        let most_splits = spans.iter().map(splits).max().unwrap_or(0);
        spans.iter().map(tiles).sum::<u64>() * u64::from(params.kv_heads) * u64::from(most_splits)
    }

    fn work(self, params: &AttentionParams, span: Span) -> Work {
        self.work_of(params, &[span])
    }

    fn work_of(self, params: &AttentionParams, spans: &[Span]) -> Work {
        work_of(self, self.tile().steps(self.head_dim), params, spans)
    }
}

/// The logit of each query head's sink, `[H]`.
pub(super) const SINKS: Binding = Binding::read(8, "sinks");

/// The fragment that adds sinks to a softmax, or does not.
pub(super) fn sinks_fragment(sinks: bool) -> Fragment {
    if sinks { fragment!("sinks/stored.wgsl") } else { fragment!("sinks/none.wgsl") }
}

impl Attention {
    /// Plain attention with a causal mask; others differ from it in some field.
    pub const fn new(head_dim: u32, phase: Phase) -> Self {
        let (reach, score_bias, cache) = (Reach::Window, ScoreBias::None, CacheRows::PLAIN);
        let (values, v_is_k, queries) = (Values::Own(head_dim), false, PREFILL_QUERIES);
        Self {
            head_dim,
            values,
            softcap: false,
            reach,
            score_bias,
            v_is_k,
            sinks: false,
            phase,
            cache,
            queries,
        }
    }

    /// The same with as many queries that share a pass over the keys as are good for so many heads: a prompt has enough of them; of a
    /// step, all heads of a key/value head share its keys where they and their values are not too many.
    #[must_use]
    pub fn for_heads(self, heads: u32, kv_heads: u32) -> Self {
        let queries = match self.phase {
            Phase::Prefill => PREFILL_QUERIES,
            Phase::Decode => {
                let of_one = (heads / kv_heads.max(1)).min(MAX_QUERIES);
                of_one.next_power_of_two().min(self.most_queries())
            }
        };
        Self { queries, ..self }
    }

    /// A power of two, whose outputs are not too many.
    fn most_queries(self) -> u32 {
        let fit = (SUMS / self.values.dim().max(1)).max(1);
        (1 << fit.ilog2()).min(MAX_QUERIES)
    }

    fn tile(self) -> Tile {
        Tile::new(self.queries, self.values.dim())
    }

    /// Queries of one key/value head that a workgroup takes, `tile_height` of the shader.
    fn queries_per_tile(self, params: &AttentionParams, span: Span) -> u32 {
        let keys = if self.reach == Reach::Encoder { params.slots } else { span.position + span.rows };
        match self.phase {
            Phase::Prefill if keys > MANY_KEYS => {
                (span.rows * params.heads).div_ceil(SPREAD).clamp(1, self.queries)
            }
            Phase::Prefill | Phase::Decode => self.queries,
        }
    }

    /// Whether there is a cache.
    fn has_cache(self) -> bool {
        Reach::CAUSAL.contains(&self.reach)
    }

    /// Whether the call's own keys are beside those of a cache.
    fn has_chunk(self) -> bool {
        self.phase == Phase::Prefill && self.has_cache()
    }

    /// Parts of the keys of a sequence's next token.
    fn splits(self, params: &AttentionParams, span: Span) -> u32 {
        let first = self.reach.first_visible(span.position, params.reach);
        let newest = self.reach.key_end(span.position, span, params.slots) - 1;
        split_count(first, newest, params.split_keys)
    }

    /// [`Kernel::check`] of a kernel by the name of `kernel`, which computes this attention.
    pub(super) fn check_for(self, kernel: &'static str, params: &AttentionParams) -> Result<()> {
        let AttentionParams { heads, kv_heads, slots, .. } = *params;
        at_most(kernel, "head_dim", MAX_KEY_DIM, self.head_dim)?;
        let most = if self.values.are_own() { MAX_HEAD_DIM } else { MAX_HEAD_DIM.min(self.head_dim) };
        at_most(kernel, "values", most, self.values.dim())?;
        let tiled = self.queries.is_power_of_two() && self.queries <= self.most_queries();
        let expected = format_args!("a power of two up to {}", self.most_queries());
        require(kernel, "queries", tiled, expected, self.queries)?;
        positive(kernel, [("heads", heads), ("kv_heads", kv_heads), ("slots", slots)])?;
        let expected = format_args!("a divisor of the {heads} query heads");
        require(kernel, "kv_heads", heads.is_multiple_of(kv_heads), expected, kv_heads)?;
        let capped = !self.softcap || params.softcap > 0.0;
        require(kernel, "softcap", capped, "a positive number", params.softcap)?;
        self.check_reach(kernel, params)?;
        let of_encoder = !self.v_is_k || self.reach == Reach::Encoder;
        require(kernel, "v_is_k", of_encoder, "values of their own but of an encoder's keys", "keys")?;
        let cached = self.has_cache() || self.cache == CacheRows::PLAIN;
        require(kernel, "cache", cached, "plain rows where there is no cache", "others")?;
        match self.phase {
            Phase::Prefill if self.has_chunk() => positive(kernel, [("chunk_slots", params.chunk_slots)]),
            Phase::Prefill => Ok(()),
            Phase::Decode => {
                positive(kernel, [("split_keys", params.split_keys), ("max_splits", params.max_splits)])
            }
        }
    }

    /// Refuses chunks of nothing, and sinks where scores are not yet joined.
    fn check_reach(self, kernel: &'static str, params: &AttentionParams) -> Result<()> {
        let reaches = self.reach != Reach::Chunk || params.reach > 0;
        require(kernel, "reach", reaches, "at least 1 token in a chunk", params.reach)?;
        let whole = self.reach != Reach::Both || self.phase == Phase::Prefill;
        require(kernel, "reach", whole, "keys before it for a step", "both ways")?;
        let joined = !self.sinks || self.phase == Phase::Prefill;
        require(kernel, "sinks", joined, "none in a decode", "some")
    }
}
