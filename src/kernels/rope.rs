//! Fused projections into heads: per-head norm, rotation, and the way into the cache.

use super::attention::MAX_HEAD_DIM;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Reduce;
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `rope`.
    pub struct RopeParams {
        /// Query heads, `H`.
        pub heads: u32,
        /// Key/value heads, `G`.
        pub kv_heads: u32,
        /// Leading elements of a head that turn; 0: none.
        pub rotary_dim: u32,
        /// Rows per head of the K and V destinations.
        pub slots: u32,
        /// Of the head norm.
        pub eps: f32,
    }
}

/// Splits `[rows, (H + 2G) h]` into normed, rotated Q and K, and V (arXiv 2104.09864, section 3.2).
///
/// Q is `[rows, H, h]`, K and V are `[G, slots, h]`, the table of cosines and sines `[positions, rotary_dim / 2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rope {
    /// Width of a head, 1 to [`MAX_HEAD_DIM`].
    pub head_dim: u32,
    /// Whether Q and K heads are RMS-normed first.
    pub qk_norm: bool,
    /// Whether pairs are neighbours instead of half a head apart.
    pub interleaved: bool,
    /// Whether K and V go into the cache by position (decode) or into a chunk's buffer by row (prefill).
    pub to_cache: bool,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for Rope {
    type Params = RopeParams;
    const NAME: &'static str = "rope";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("rope.wgsl"))
            .with_span()
            .with(if self.qk_norm { fragment!("qk_norm/rms.wgsl") } else { fragment!("qk_norm/none.wgsl") })
            .with(if self.interleaved {
                fragment!("rotate/interleaved.wgsl")
            } else {
                fragment!("rotate/half_split.wgsl")
            })
            .constant("HEAD_DIM", self.head_dim)
            .flag("TO_CACHE", self.to_cache);
        // Without a norm nothing is added over lanes, and the plain entry point will do.
        if self.qk_norm { self.reduce.add_to(source) } else { source.with(fragment!("entry/plain.wgsl")) }
    }

    fn bindings(self) -> Vec<Binding> {
        let norm = self.qk_norm.then_some(Binding::read(7, "head_norm"));
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "qkv"),
            Binding::read(3, "rope_table"),
            Binding::write(4, "q_out"),
            Binding::write(5, "k_out"),
            Binding::write(6, "v_out"),
        ]
        .into_iter()
        .chain(norm)
        .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for head_dim in [1, 10, 12, 64, 256, 512] {
            for interleaved in [false, true] {
                for to_cache in [false, true] {
                    let plain =
                        Self { head_dim, qk_norm: false, interleaved, to_cache, reduce: Reduce::Workgroup };
                    all.push(plain);
                    all.extend(Reduce::ALL.map(|reduce| Self { qk_norm: true, reduce, ..plain }));
                }
            }
        }
        all
    }

    fn check(self, params: &RopeParams) -> Result<()> {
        let RopeParams { heads, kv_heads, rotary_dim, slots, .. } = *params;
        at_most(Self::NAME, "head_dim", MAX_HEAD_DIM, self.head_dim)?;
        positive(Self::NAME, [("heads", heads), ("kv_heads", kv_heads), ("slots", slots)])?;
        let pairs = rotary_dim.is_multiple_of(2) && rotary_dim <= self.head_dim;
        let expected = format_args!("an even number up to the head's {}", self.head_dim);
        require(Self::NAME, "rotary_dim", pairs, expected, rotary_dim)
    }

    fn sizes(self, params: &RopeParams, rows: u32) -> Vec<(&'static str, u64)> {
        let RopeParams { heads, kv_heads, rotary_dim, slots, .. } = *params;
        let all_heads = kv_heads.saturating_mul(2).saturating_add(heads);
        // A chunk has a place for every row, a cache may be a ring.
        let slots = if self.to_cache { slots } else { slots.max(rows) };
        let kv = bytes([kv_heads, slots, self.head_dim]);
        let norm = self.qk_norm.then_some(("head_norm", bytes([2, self.head_dim])));
        [
            ("qkv", bytes([rows, all_heads, self.head_dim])),
            // No binding is empty, and an entry is a cosine and a sine.
            ("rope_table", bytes([rows, rotary_dim / 2, 2]).max(8)),
            ("q_out", bytes([rows, heads, self.head_dim])),
            ("k_out", kv),
            ("v_out", kv),
        ]
        .into_iter()
        .chain(norm)
        .collect()
    }

    fn workgroups(self, params: &RopeParams, span: Span) -> u64 {
        u64::from(span.rows) * u64::from(params.heads + 2 * params.kv_heads)
    }

    fn work(self, params: &RopeParams, span: Span) -> Work {
        let (rows, head_dim) = (u64::from(span.rows), u64::from(self.head_dim));
        let q = rows * u64::from(params.heads) * head_dim;
        let kv = rows * 2 * u64::from(params.kv_heads) * head_dim;
        let turned_heads = rows * u64::from(params.heads + params.kv_heads);
        let turned = turned_heads * u64::from(params.rotary_dim);
        let kv_class = if self.to_cache { ByteClass::KvWrite } else { ByteClass::ActOut };
        let mut work = Work::default()
            .with_bytes(ByteClass::ActIn, (q + kv) * 4, (q + kv) * 4)
            .with_bytes(ByteClass::Index, rows * u64::from(params.rotary_dim) * 4, turned * 8)
            .with_bytes(ByteClass::ActOut, q * 4, q * 4)
            .with_bytes(kv_class, kv * 4, kv * 4)
            .with_ops(OpClass::F32Other, 3 * turned, 3 * turned);
        if self.qk_norm {
            let normed = turned_heads * head_dim;
            work = work
                .with_bytes(ByteClass::Weight, 2 * head_dim * 4, (normed + turned) * 4)
                .with_ops(OpClass::F32Fma, normed, q + kv)
                .with_ops(OpClass::F32Other, 2 * normed, 2 * (normed + turned))
                .with_ops(OpClass::Sfu, turned_heads, rows * u64::from(params.heads + 2 * params.kv_heads));
        }
        work
    }
}
