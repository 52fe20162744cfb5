//! Attention over the cache: prefill in tiles of queries, decode split over the keys.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Phase, Work};
use crate::fragments::{CacheRows, Reach, ScoreBias};
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, distinct, params};
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

/// Widest head: four sums of its elements for each of 64 lanes are as many as a lane keeps.
pub const MAX_HEAD_DIM: u32 = 512;

/// Widest key: four queries as wide and their scores are within the 16 KiB of workgroup memory that every device has.
pub const MAX_KEY_DIM: u32 = 768;

/// Workgroups that a prompt of a few rows is spread over.
const SPREAD: u32 = 32;

/// Most queries that share one pass over the keys.
pub fn queries(head_dim: u32) -> u32 {
    // As many as fit in half of the 16 KiB of workgroup memory every device has; of the widest keys, in three quarters.
    if head_dim > 256 { 4 } else { 8 }
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
        let source = Source::kernel(Self::NAME, fragment!("attention.wgsl"))
            .with_span()
            .with(self.reach.fragment())
            .with(fragment!("entry/plain.wgsl"))
            .constant("HEAD_DIM", self.head_dim)
            .constant("VALUE_DIM", self.values.dim())
            .constant("QUERIES", queries(self.head_dim));
        let source = match self.has_cache() {
            true => self.values_added(
                source.with(self.cache.slots.fragment()).with(self.cache.format.key_fragment()),
            ),
            false => source,
        };
        let source = if self.softcap {
            source.with(fragment!("softcap/tanh.wgsl")).with(fragment!("common/safe_tanh.wgsl"))
        } else {
            source.with(fragment!("softcap/none.wgsl"))
        };
        let source = self.score_bias.add_to(source);
        let (keys, is_spread) = self.keys();
        let source = source.with(keys);
        let source = match self.phase {
            Phase::Prefill => source.with(fragment!("output/whole.wgsl")).with(sinks_fragment(self.sinks)),
            Phase::Decode => source.with(fragment!("output/split.wgsl")),
        };
        let source = match self.reach {
            Reach::Encoder => source.constant("KEY_HEADS", if self.v_is_k { 1 } else { 2 }),
            Reach::Window | Reach::Chunk | Reach::Both => source,
        };
        match (is_spread, self.phase) {
            (true, Phase::Prefill) => source.constant("SPREAD", SPREAD),
            (true, Phase::Decode) => source.constant("SPREAD", 1),
            (false, _) => source,
        }
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
        let mut all = Vec::new();
        for (head_dim, values) in [
            (12, Values::Own(7)),
            (16, Values::Own(24)),
            (22, Values::InKeys(16)),
            (MAX_KEY_DIM, Values::InKeys(MAX_HEAD_DIM)),
        ] {
            let of = |phase| Self { values, ..Self::new(head_dim, phase) };
            all.extend([Phase::Prefill, Phase::Decode].map(of));
        }
        let mut caches = CacheRows::all().cycle();
        for head_dim in [1, 8, 10, 12, 16, 64, 80, 96, 128, 256, 512] {
            for softcap in [false, true] {
                for (reach, cache) in Reach::CAUSAL.into_iter().zip(&mut caches) {
                    let plain = |phase| Self { softcap, reach, cache, ..Self::new(head_dim, phase) };
                    all.extend([Phase::Prefill, Phase::Decode].map(plain));
                    all.push(Self { sinks: true, ..plain(Phase::Prefill) });
                }
                let plain = Self { softcap, ..Self::new(head_dim, Phase::Prefill) };
                for phase in [Phase::Prefill, Phase::Decode] {
                    for v_is_k in [false, true] {
                        all.push(Self { reach: Reach::Encoder, phase, v_is_k, ..plain });
                    }
                    let score_bias = ScoreBias::Relative { distance: 5 };
                    all.push(Self { score_bias, phase, ..plain });
                }
                let both = Self { reach: Reach::Both, ..plain };
                all.extend([both, Self { score_bias: ScoreBias::Relative { distance: 128 }, ..both }]);
            }
        }
        // ... and both phases with every cache.
        for (phase, cache) in [Phase::Prefill, Phase::Decode]
            .into_iter()
            .flat_map(|phase| CacheRows::all().map(move |c| (phase, c)))
        {
            all.push(Self { cache, ..Self::new(10, phase) });
        }
        // What is added does not know what else a variant is.
        let is_plain = |of: &&Self| of.has_cache() && of.score_bias == ScoreBias::None;
        let plain: Vec<_> =
            all.iter().filter(is_plain).filter(|of| [8, 64].contains(&of.head_dim)).copied().collect();
        for score_bias in ScoreBias::ALL.into_iter().filter(|bias| *bias != ScoreBias::None) {
            all.extend(plain.iter().map(|of| Self { score_bias, ..*of }));
        }
        distinct(all)
    }

    fn check(self, params: &AttentionParams) -> Result<()> {
        let AttentionParams { heads, kv_heads, slots, .. } = *params;
        at_most(Self::NAME, "head_dim", MAX_KEY_DIM, self.head_dim)?;
        let most = if self.values.are_own() { MAX_HEAD_DIM } else { MAX_HEAD_DIM.min(self.head_dim) };
        at_most(Self::NAME, "values", most, self.values.dim())?;
        positive(Self::NAME, [("heads", heads), ("kv_heads", kv_heads), ("slots", slots)])?;
        let expected = format_args!("a divisor of the {heads} query heads");
        require(Self::NAME, "kv_heads", heads.is_multiple_of(kv_heads), expected, kv_heads)?;
        let capped = !self.softcap || params.softcap > 0.0;
        require(Self::NAME, "softcap", capped, "a positive number", params.softcap)?;
        self.check_reach(params)?;
        let of_encoder = !self.v_is_k || self.reach == Reach::Encoder;
        require(Self::NAME, "v_is_k", of_encoder, "values of their own but of an encoder's keys", "keys")?;
        let cached = self.has_cache() || self.cache == CacheRows::PLAIN;
        require(Self::NAME, "cache", cached, "plain rows where there is no cache", "others")?;
        match self.phase {
            Phase::Prefill if self.has_chunk() => positive(Self::NAME, [("chunk_slots", params.chunk_slots)]),
            Phase::Prefill => Ok(()),
            Phase::Decode => {
                positive(Self::NAME, [("split_keys", params.split_keys), ("max_splits", params.max_splits)])
            }
        }
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
        let of_span = |span: &Span| self.work_of_span(params, *span);
        let mut work = Work::default();
        spans.iter().map(of_span).for_each(|of_span| work += of_span);
        if self.sinks && self.phase == Phase::Prefill {
            let (heads, rows) = (u64::from(params.heads), u64::from(Span::total_rows(spans)));
            work += sink_work(heads, rows * heads, self.values.dim().into());
        }
        work
    }
}

/// The logit of each query head's sink, `[H]`.
pub(super) const SINKS: Binding = Binding::read(8, "sinks");

/// What sinks add to the outputs of `rows` tokens' heads: a logit each, and two exponentials in each lane of an output.
pub(super) fn sink_work(heads: u64, outputs: u64, head_dim: u64) -> Work {
    let lanes = outputs * head_dim;
    Work::default().with_bytes(ByteClass::Weight, heads * 4, lanes * 4).with_ops(
        OpClass::Sfu,
        2 * outputs,
        2 * lanes,
    )
}

/// The fragment that adds sinks to a softmax, or does not.
pub(super) fn sinks_fragment(sinks: bool) -> Fragment {
    if sinks { fragment!("sinks/stored.wgsl") } else { fragment!("sinks/none.wgsl") }
}

impl Attention {
    /// Plain attention with a causal mask; others differ from it in some field.
    pub const fn new(head_dim: u32, phase: Phase) -> Self {
        let (reach, score_bias, cache) = (Reach::Window, ScoreBias::None, CacheRows::PLAIN);
        let (values, v_is_k) = (Values::Own(head_dim), false);
        Self { head_dim, values, softcap: false, reach, score_bias, v_is_k, sinks: false, phase, cache }
    }

    /// Where keys are, and whether a few queries are spread over workgroups.
    fn keys(self) -> (Fragment, bool) {
        match (self.reach, self.phase) {
            (Reach::Both, _) => (fragment!("keys/own.wgsl"), true),
            (Reach::Encoder, _) => (fragment!("keys/encoder.wgsl"), true),
            (Reach::Window | Reach::Chunk, Phase::Prefill) => (fragment!("keys/chunk.wgsl"), true),
            (Reach::Window | Reach::Chunk, Phase::Decode) => (fragment!("keys/cache.wgsl"), false),
        }
    }

    /// Adds what finds values beside keys.
    fn values_added(self, source: Source) -> Source {
        let source = match self.values {
            Values::Own(_) => source.with(self.cache.format.value_fragment()),
            Values::InKeys(_) => source,
        };
        source.with(match (self.values, self.phase) {
            (Values::InKeys(_), _) => fragment!("values/in_keys.wgsl"),
            (Values::Own(_), Phase::Prefill) => fragment!("values/chunk.wgsl"),
            (Values::Own(_), Phase::Decode) => fragment!("values/cache.wgsl"),
        })
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

    /// What the tokens of one sequence cost, but for sinks.
    fn work_of_span(self, params: &AttentionParams, span: Span) -> Work {
        let tokens = if self.reach == Reach::Encoder { params.slots } else { params.reach };
        let pairs = visible_pairs(span, self.reach, tokens);
        let (heads, kv_heads) = (u64::from(params.heads), u64::from(params.kv_heads));
        let (rows, key_dim) = (u64::from(span.rows), u64::from(self.head_dim));
        let value_dim = u64::from(self.values.dim());
        // What scores and outputs multiply; values that lie in the keys are read again, but are no bytes more.
        let both = key_dim + value_dim;
        let row_bytes = |dim| self.cache.format.row_bytes(dim);
        let requested_bytes = row_bytes(self.head_dim) + row_bytes(self.values.dim());
        let stored_bytes = if self.values.are_own() { requested_bytes } else { row_bytes(self.head_dim) };
        let last = self.reach.key_end(span.position + span.rows - 1, span, params.slots);
        let distinct = u64::from(last - self.reach.first_visible(span.position, params.reach));
        // A tile of queries walks the union of what they see.
        let walked = self.walked_pairs(params, span) * kv_heads;
        let mut work = Work::default()
            .with_bytes(ByteClass::ActIn, rows * heads * key_dim * 4, rows * heads * key_dim * 4)
            .with_bytes(ByteClass::KvRead, distinct * kv_heads * stored_bytes, walked * requested_bytes)
            .with_ops(OpClass::F32Fma, heads * pairs * both, walked * both)
            .with_ops(OpClass::Sfu, heads * pairs, walked);
        let outputs = rows * heads * value_dim * 4;
        work = match self.phase {
            Phase::Prefill => work.with_bytes(ByteClass::ActOut, outputs, outputs),
            Phase::Decode => {
                let splits = u64::from(self.splits(params, span));
                let bytes = rows * heads * splits * (value_dim + 2) * 4;
                work.with_bytes(ByteClass::Scratch, bytes, bytes)
            }
        };
        work = self.cache.format.read_work(distinct * kv_heads * both, walked * both, work);
        work = self.score_bias.work(heads * pairs, walked, work);
        if let Some((_, table)) = self.score_bias.size(params.heads) {
            work = work.with_bytes(ByteClass::Weight, table.min(4 * heads * pairs), 4 * walked);
        }
        if self.softcap {
            work = work.with_ops(OpClass::Sfu, heads * pairs, walked);
        }
        work
    }

    /// Refuses chunks of nothing, and sinks where scores are not yet joined.
    fn check_reach(self, params: &AttentionParams) -> Result<()> {
        let reaches = self.reach != Reach::Chunk || params.reach > 0;
        require(Self::NAME, "reach", reaches, "at least 1 token in a chunk", params.reach)?;
        let whole = self.reach != Reach::Both || self.phase == Phase::Prefill;
        require(Self::NAME, "reach", whole, "keys before it for a step", "both ways")?;
        let joined = !self.sinks || self.phase == Phase::Prefill;
        require(Self::NAME, "sinks", joined, "none in a decode", "some")
    }

    /// Queries of one key/value head that a workgroup takes. A prompt of a few rows is spread over workgroups; a
    /// decode has its keys to divide.
    fn queries_per_tile(self, params: &AttentionParams, span: Span) -> u32 {
        let most = queries(self.head_dim);
        match self.phase {
            Phase::Prefill => (span.rows * params.heads).div_ceil(SPREAD).clamp(1, most),
            Phase::Decode => most,
        }
    }

    /// (query, key) pairs that the tiles of one key/value head go through, masked ones included.
    fn walked_pairs(self, params: &AttentionParams, span: Span) -> u64 {
        let per_head = params.heads / params.kv_heads;
        let (count, tile) = (span.rows * per_head, self.queries_per_tile(params, span));
        (0..count.div_ceil(tile))
            .map(|t| {
                let (first, end) = (t * tile, (t * tile + tile).min(count));
                let oldest = span.position + first / per_head;
                let newest = span.position + (end - 1) / per_head;
                let keys = self.reach.key_end(newest, span, params.slots);
                u64::from(end - first) * u64::from(keys - self.reach.first_visible(oldest, params.reach))
            })
            .sum()
    }
}

/// Visible (query, key) pairs of one head; `tokens` are those of a window, of a chunk, or of an encoder.
pub fn visible_pairs(span: Span, reach: Reach, tokens: u32) -> u64 {
    let (p, rows) = (u64::from(span.position), u64::from(span.rows));
    let n = u64::from(tokens);
    // Of all rows from the first of the sequence on.
    let up_to = |rows: u64| match reach {
        Reach::Window if n == 0 || rows <= n => rows * (rows + 1) / 2,
        Reach::Window => n * (n + 1) / 2 + (rows - n) * n,
        Reach::Chunk => (rows / n) * (n * (n + 1) / 2) + (rows % n) * (rows % n + 1) / 2,
        Reach::Both => rows * rows,
        Reach::Encoder => rows * n,
    };
    up_to(p + rows) - up_to(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_pairs_counts_what_each_row_sees() {
        for (reach, tokens) in
            [0, 1, 3, 8].map(|n| (Reach::Window, n)).into_iter().chain([1, 3, 8].map(|n| (Reach::Chunk, n)))
        {
            for position in [0, 1, 2, 7, 8, 9, 30] {
                for rows in [1, 2, 5, 17] {
                    let span = Span { position, rows };
                    let counted: u64 = (position..position + rows)
                        .map(|p| u64::from(p + 1 - reach.first_visible(p, tokens)))
                        .sum();
                    assert_eq!(
                        visible_pairs(span, reach, tokens),
                        counted,
                        "{span:?}, {reach:?} of {tokens}"
                    );
                }
            }
        }
    }
}
