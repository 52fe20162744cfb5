//! A chunk's keys and values into the cache.

use crate::Result;
use crate::energy::{ByteClass, Work};
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
        /// Rows per head of the cache.
        pub slots: u32,
        /// Rows per head of the chunk.
        pub chunk_slots: u32,
    }
}

/// Lanes of a workgroup.
const LANES: u32 = 64;

/// Copies the last `min(rows, slots)` rows of a chunk to their slots, `position mod slots`.
///
/// Chunks are `[G, chunk_slots, h]`, caches `[G, slots, h]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvWrite {
    /// Whether values have a chunk and a cache of their own. Else they are a part of the keys.
    pub values: bool,
}

impl KvWrite {
    fn elements(params: &KvWriteParams, span: Span) -> u64 {
        u64::from(span.rows.min(params.slots)) * u64::from(params.kv_heads) * u64::from(params.head_dim)
    }
}

impl Kernel for KvWrite {
    type Params = KvWriteParams;
    const NAME: &'static str = "kv_write";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("kv_write.wgsl"))
            .with_span()
            .with(match self.values {
                true => fragment!("written_values/own.wgsl"),
                false => fragment!("written_values/in_keys.wgsl"),
            })
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        let keys = [Binding::read(2, "k_chunk"), Binding::write(4, "k_cache")];
        let values = [Binding::read(3, "v_chunk"), Binding::write(5, "v_cache")];
        let values = values.into_iter().filter(|_| self.values);
        [Binding::PARAMS, Binding::SPAN].into_iter().chain(keys).chain(values).collect()
    }

    fn variants() -> Vec<Self> {
        [true, false].map(|values| Self { values }).into()
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
        let KvWriteParams { kv_heads, head_dim, slots, chunk_slots } = *params;
        let chunk = bytes([kv_heads, chunk_slots.max(rows), head_dim]);
        let cache = bytes([kv_heads, slots, head_dim]);
        let values = [("v_chunk", chunk), ("v_cache", cache)].into_iter().filter(|_| self.values);
        [("k_chunk", chunk), ("k_cache", cache)].into_iter().chain(values).collect()
    }

    fn workgroups(self, params: &KvWriteParams, span: Span) -> u64 {
        Self::elements(params, span).div_ceil(u64::from(LANES))
    }

    fn work(self, params: &KvWriteParams, span: Span) -> Work {
        let bytes = if self.values { 2 } else { 1 } * Self::elements(params, span) * 4;
        Work::default().with_bytes(ByteClass::ActIn, bytes, bytes).with_bytes(
            ByteClass::KvWrite,
            bytes,
            bytes,
        )
    }
}
