//! A chunk's keys and values into the cache.

use super::attention::MAX_KEY_DIM;
use crate::Result;
use crate::energy::{ByteClass, Work};
use crate::fragments::{CacheRows, CacheSlots};
use crate::kernel::check::{at_most, bytes, positive};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `kv_write`.
    pub struct KvWriteParams {
        /// Key/value heads, `G`.
        pub kv_heads: u32,
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
/// Chunks are `[G, chunk_slots, h]`, caches `[sequences or pages, G, slots]` rows of some format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvWrite {
    /// Width of a head, 1 to [`MAX_KEY_DIM`].
    pub head_dim: u32,
    /// Where the cache is, and how its rows are stored.
    pub cache: CacheRows,
    /// Whether values have a chunk and a cache of their own. Else they are a part of the keys.
    pub values: bool,
}

impl KvWrite {
    /// Rows of a sequence that are written.
    fn kept(self, params: &KvWriteParams, span: &Span) -> u32 {
        match self.cache.slots {
            CacheSlots::Own => span.rows.min(params.slots),
            CacheSlots::Paged => span.rows,
        }
    }
}

impl Kernel for KvWrite {
    type Params = KvWriteParams;
    const NAME: &'static str = "kv_write";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("kv_write.wgsl")).with_span();
        self.cache
            .format
            .store_added(self.values, source.with(self.cache.slots.fragment()))
            .with(match self.values {
                true => fragment!("written_values/own.wgsl"),
                false => fragment!("written_values/in_keys.wgsl"),
            })
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
            .constant("HEAD_DIM", self.head_dim)
            .flag("RING", self.cache.slots == CacheSlots::Own)
    }

    fn bindings(self) -> Vec<Binding> {
        let keys = [Binding::read(2, "k_chunk"), Binding::write(5, "k_out")];
        let values = [Binding::read(3, "v_chunk"), Binding::write(6, "v_out")];
        let values = values.into_iter().filter(|_| self.values);
        [Binding::PARAMS, Binding::SPAN]
            .into_iter()
            .chain(keys)
            .chain(values)
            .chain(self.cache.slots.binding())
            .collect()
    }

    fn variants() -> Vec<Self> {
        let of = |head_dim| CacheRows::all().map(move |cache| Self { head_dim, cache, values: true });
        let with_values = [1, 3, 10, 64, 256, 512].into_iter().flat_map(of);
        let latents = [22, MAX_KEY_DIM].into_iter().flat_map(of).map(|of| Self { values: false, ..of });
        with_values.chain(latents).collect()
    }

    fn check(self, params: &KvWriteParams) -> Result<()> {
        at_most(Self::NAME, "head_dim", MAX_KEY_DIM, self.head_dim)?;
        let KvWriteParams { kv_heads, slots, chunk_slots, .. } = *params;
        positive(Self::NAME, [("kv_heads", kv_heads), ("slots", slots), ("chunk_slots", chunk_slots)])
    }

    fn sizes(self, params: &KvWriteParams, rows: u32) -> Vec<(&'static str, u64)> {
        let KvWriteParams { kv_heads, slots, pages, chunk_slots } = *params;
        let chunk = bytes([kv_heads, chunk_slots.max(rows), self.head_dim]);
        let cache = bytes([kv_heads, slots, self.cache.format.row_words(self.head_dim)]);
        let values = [("v_chunk", chunk), ("v_out", cache)].into_iter().filter(|_| self.values);
        [("k_chunk", chunk), ("k_out", cache)]
            .into_iter()
            .chain(values)
            .chain(self.cache.slots.size(pages))
            .collect()
    }

    fn workgroups(self, params: &KvWriteParams, span: Span) -> u64 {
        u64::from(span.rows) * u64::from(params.kv_heads)
    }

    fn work(self, params: &KvWriteParams, span: Span) -> Work {
        self.work_of(params, &[span])
    }

    fn work_of(self, params: &KvWriteParams, spans: &[Span]) -> Work {
        let kept: u32 = spans.iter().map(|span| self.kept(params, span)).sum();
        let rows = if self.values { 2 } else { 1 } * u64::from(kept) * u64::from(params.kv_heads);
        let (read, written) =
            (rows * u64::from(self.head_dim) * 4, rows * self.cache.format.row_bytes(self.head_dim));
        let work = Work::default().with_bytes(ByteClass::ActIn, read, read);
        self.cache.format.store_work(rows, self.head_dim, work).with_bytes(
            ByteClass::KvWrite,
            written,
            written,
        )
    }
}
