//! A chunk's keys and values into the cache.

use crate::Result;
use crate::energy::{ByteClass, Work};
use crate::fragments::CacheSlots;
use crate::kernel::check::{bytes, positive};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `kv_write`.
    pub struct KvWriteParams {
        /// Key/value heads, `G`.
        pub kv_heads: u32,
        /// Width of a head.
        pub head_dim: u32,
        /// Rows per head of a sequence's cache, or of a page.
        pub slots: u32,
        /// Pages that a sequence may have.
        pub pages: u32,
        /// Rows per head of the chunk.
        pub chunk_slots: u32,
    }
}

/// Lanes of a workgroup.
const LANES: u32 = 64;

/// Copies the rows of a chunk to their slots, `position mod slots`; of a ring's, the last `slots` of each sequence.
///
/// Chunks are `[G, chunk_slots, h]`, caches `[sequences or pages, G, slots, h]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvWrite {
    /// Where the cache is.
    pub cache: CacheSlots,
}

impl KvWrite {
    fn elements(params: &KvWriteParams, rows: u32) -> u64 {
        u64::from(rows) * u64::from(params.kv_heads) * u64::from(params.head_dim)
    }

    /// Rows of a sequence that are written.
    fn kept(self, params: &KvWriteParams, span: &Span) -> u32 {
        match self.cache {
            CacheSlots::Own => span.rows.min(params.slots),
            CacheSlots::Paged => span.rows,
        }
    }
}

impl Kernel for KvWrite {
    type Params = KvWriteParams;
    const NAME: &'static str = "kv_write";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("kv_write.wgsl"))
            .with_span()
            .with(self.cache.fragment())
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
            .flag("RING", self.cache == CacheSlots::Own)
    }

    fn bindings(self) -> Vec<Binding> {
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "k_chunk"),
            Binding::read(3, "v_chunk"),
            Binding::write(4, "k_cache"),
            Binding::write(5, "v_cache"),
        ]
        .into_iter()
        .chain(self.cache.binding())
        .collect()
    }

    fn variants() -> Vec<Self> {
        CacheSlots::ALL.map(|cache| Self { cache }).to_vec()
    }

    fn check(self, params: &KvWriteParams) -> Result<()> {
        positive(
            Self::NAME,
            [
                ("kv_heads", params.kv_heads),
                ("head_dim", params.head_dim),
                ("slots", params.slots),
                ("chunk_slots", params.chunk_slots),
            ],
        )
    }

    fn sizes(self, params: &KvWriteParams, rows: u32) -> Vec<(&'static str, u64)> {
        let KvWriteParams { kv_heads, head_dim, slots, pages, chunk_slots } = *params;
        let chunk = bytes([kv_heads, chunk_slots.max(rows), head_dim]);
        let cache = bytes([kv_heads, slots, head_dim]);
        [("k_chunk", chunk), ("v_chunk", chunk), ("k_cache", cache), ("v_cache", cache)]
            .into_iter()
            .chain(self.cache.size(pages))
            .collect()
    }

    fn workgroups(self, params: &KvWriteParams, span: Span) -> u64 {
        Self::elements(params, span.rows).div_ceil(u64::from(LANES))
    }

    fn work(self, params: &KvWriteParams, span: Span) -> Work {
        self.work_of(params, &[span])
    }

    fn work_of(self, params: &KvWriteParams, spans: &[Span]) -> Work {
        let kept = spans.iter().map(|span| self.kept(params, span)).sum();
        let bytes = 2 * Self::elements(params, kept) * 4;
        Work::default().with_bytes(ByteClass::ActIn, bytes, bytes).with_bytes(
            ByteClass::KvWrite,
            bytes,
            bytes,
        )
    }
}
