//! Fused projections into heads: per-head norm, rotation, and the way into the cache.

use super::attention::MAX_HEAD_DIM;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{CacheFormat, CacheRows, CacheSlots, Reduce};
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Fragment, Source, fragment};

params! {
    /// The uniform of `rope`.
    pub struct RopeParams {
        /// Query heads, `H`.
        pub heads: u32,
        /// Key/value heads, `G`; 0 of queries alone.
        pub kv_heads: u32,
        /// Leading elements of a head that turn; 0: none.
        pub rotary_dim: u32,
        /// Rows per head of the K and V destinations, or of a page.
        pub slots: u32,
        /// Pages that a sequence may have.
        pub pages: u32,
        /// Of the head norm.
        pub eps: f32,
        /// Q, K and V are clamped to `-clip ..= clip`, after the norm.
        pub clip: f32,
        /// How queries grow with their position, see [`Rope`]; 0: not at all.
        pub temperature_scale: f32,
        /// Positions that are alike to them; 0: all.
        pub temperature_floor: u32,
    }
}

/// Splits `[rows, (H + 2G) h]` into normed, rotated Q and K, and V (arXiv 2104.09864, section 3.2).
///
/// Q is `[rows, H, h]`, K and V are `[G, slots, h]` for each sequence or page, the table of cosines and sines `[positions, rotary_dim / 2]`. A query at
/// position `p` is multiplied by `1 + temperature_scale ln(1 + floor((p + 1) / temperature_floor))` (arXiv 2501.19399).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rope {
    /// Width of a head, 1 to [`MAX_HEAD_DIM`].
    pub head_dim: u32,
    /// Whether Q and K are normed first, and how.
    pub qk_norm: QkNorm,
    /// Whether heads of V are normed as well, without a weight.
    pub v_norm: bool,
    /// Whether V is K, before its norm.
    pub v_is_k: bool,
    /// Whether there are queries alone, because keys and values are another layer's.
    pub only_q: bool,
    /// Whether pairs are neighbours instead of half a head apart.
    pub interleaved: bool,
    /// Where K and V go: into the cache by position (decode), or else into a chunk's buffer by row (prefill).
    pub to: Option<CacheRows>,
    /// How lanes add.
    pub reduce: Reduce,
}

/// What Q and K are normed over, before the rotation: `shaders/qk_norm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QkNorm {
    /// They are not.
    None,
    /// Each head, by its root mean square.
    Head,
    /// All heads together, by theirs.
    AllHeads,
    /// Each head by mean and variance: a LayerNorm.
    Layer {
        /// Whether each head has weights of its own.
        by_head: bool,
    },
}

impl QkNorm {
    fn fragment(self) -> Fragment {
        match self {
            Self::None => fragment!("qk_norm/none.wgsl"),
            Self::Head => fragment!("qk_norm/rms.wgsl"),
            Self::AllHeads => fragment!("qk_norm/rms_of_all_heads.wgsl"),
            Self::Layer { .. } => fragment!("qk_norm/layer.wgsl"),
        }
    }

    /// Elements of the scales of Q and K, or of Q where there is no K, and of shifts.
    fn len(self, heads: [u32; 2], head_dim: u32) -> u64 {
        let all = (u64::from(heads[0]) + u64::from(heads[1])) * u64::from(head_dim);
        match self {
            Self::None => 0,
            Self::Head => u64::from(head_dim) * if heads[1] == 0 { 1 } else { 2 },
            Self::AllHeads => all,
            Self::Layer { by_head: true } => 2 * all,
            Self::Layer { by_head: false } => 2 * Self::Head.len(heads, head_dim),
        }
    }
}

impl Rope {
    /// Heads of that width, split and rotated and nothing else, into a chunk's buffers; others differ from it in some field.
    pub const fn new(head_dim: u32) -> Self {
        Self {
            head_dim,
            qk_norm: QkNorm::None,
            v_norm: false,
            v_is_k: false,
            only_q: false,
            interleaved: false,
            to: None,
            reduce: Reduce::Workgroup,
        }
    }

    /// How keys and values are stored where they go.
    fn format(self) -> CacheFormat {
        self.to.map_or(CacheFormat::F32, |cache| cache.format)
    }
}

impl Kernel for Rope {
    type Params = RopeParams;
    const NAME: &'static str = "rope";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("rope.wgsl"))
            .with_span()
            .with(self.qk_norm.fragment())
            .with(if self.interleaved {
                fragment!("rotate/interleaved.wgsl")
            } else {
                fragment!("rotate/half_split.wgsl")
            })
            .constant("HEAD_DIM", self.head_dim)
            .flag("V_NORM", self.v_norm)
            .flag("V_IS_K", self.v_is_k);
        let source = match self.to {
            Some(cache) => source.with(fragment!("heads_to/cache.wgsl")).with(cache.slots.fragment()),
            None => source.with(fragment!("heads_to/chunk.wgsl")),
        };
        let source = match self.only_q {
            true => source.with(fragment!("kv_store/none.wgsl")),
            false => self.format().store_added(true, source),
        };
        // Without a norm nothing is added over lanes, and the plain entry point will do.
        match self.qk_norm {
            QkNorm::None => source.with(fragment!("entry/plain.wgsl")),
            QkNorm::Head | QkNorm::AllHeads => self.reduce.add_to(source),
            QkNorm::Layer { by_head } => self.reduce.add_to(source).flag("BY_HEAD", by_head),
        }
    }

    fn bindings(self) -> Vec<Binding> {
        let norm = (self.qk_norm != QkNorm::None).then_some(Binding::read(7, "head_norm"));
        let kv = [Binding::write(5, "k_out"), Binding::write(6, "v_out")];
        let kv = kv.into_iter().filter(|_| !self.only_q);
        [
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "qkv"),
            Binding::read(3, "rope_table"),
            Binding::write(4, "q_out"),
        ]
        .into_iter()
        .chain(kv)
        .chain(norm)
        .chain(self.to.and_then(|cache| cache.slots.binding()))
        .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        let int8 = CacheRows { format: CacheFormat::Int8, ..CacheRows::PLAIN };
        let paged = CacheRows { slots: CacheSlots::Paged, format: CacheFormat::F16 };
        let destinations = [None, Some(CacheRows::PLAIN), Some(int8), Some(paged)];
        for head_dim in [1, 10, 12, 64, 256, 512] {
            for interleaved in [false, true] {
                for to in destinations {
                    let plain = Self { interleaved, to, ..Self::new(head_dim) };
                    all.extend([false, true].map(|v_is_k| Self { v_is_k, ..plain }));
                    all.extend(to.is_none().then_some(Self { only_q: true, ..plain }));
                    for reduce in Reduce::ALL {
                        let normed = Self { qk_norm: QkNorm::Head, reduce, ..plain };
                        let of_all = Self { qk_norm: QkNorm::AllHeads, ..normed };
                        let [shared, by_head] = [false, true].map(|by_head| QkNorm::Layer { by_head });
                        let layers = [shared, by_head].map(|qk_norm| Self { qk_norm, ..normed });
                        let normed_heads = [[normed, of_all], layers].into_iter().flatten();
                        let only_q = normed_heads.clone().map(|normed| Self { only_q: true, ..normed });
                        all.extend(only_q.filter(|_| to.is_none()));
                        all.extend(normed_heads);
                        all.extend([false, true].map(|v_is_k| Self { v_norm: true, v_is_k, ..normed }));
                    }
                }
            }
        }
        all
    }

    fn check(self, params: &RopeParams) -> Result<()> {
        let RopeParams { heads, kv_heads, rotary_dim, slots, .. } = *params;
        at_most(Self::NAME, "head_dim", MAX_HEAD_DIM, self.head_dim)?;
        positive(Self::NAME, [("heads", heads), ("slots", slots)])?;
        if self.only_q {
            require(Self::NAME, "kv_heads", kv_heads == 0, "0 beside queries alone", kv_heads)?;
            let of_values = self.v_norm || self.v_is_k;
            require(Self::NAME, "only_q", !of_values, "no choice about values", "one")?;
        } else {
            positive(Self::NAME, [("kv_heads", kv_heads)])?;
        }
        let pairs = rotary_dim.is_multiple_of(2) && rotary_dim <= self.head_dim;
        let expected = format_args!("an even number up to the head's {}", self.head_dim);
        require(Self::NAME, "rotary_dim", pairs, expected, rotary_dim)?;
        require(Self::NAME, "clip", params.clip > 0.0, "a positive number", params.clip)?;
        let of_heads = !self.v_norm || self.qk_norm == QkNorm::Head;
        require(Self::NAME, "v_norm", of_heads, "one only beside the norm of each head", "one")
    }

    fn sizes(self, params: &RopeParams, rows: u32) -> Vec<(&'static str, u64)> {
        let RopeParams { heads, kv_heads, rotary_dim, slots, .. } = *params;
        let stored_heads = kv_heads.saturating_mul(if self.v_is_k { 1 } else { 2 }).saturating_add(heads);
        // A chunk has a place for every row, a cache may be a ring.
        let slots = if self.to.is_some() { slots } else { slots.max(rows) };
        let kv = bytes([kv_heads, slots, self.format().row_words(self.head_dim)]);
        let norm_bytes = self.qk_norm.len([heads, kv_heads], self.head_dim) * 4;
        let norm = (self.qk_norm != QkNorm::None).then_some(("head_norm", norm_bytes));
        [
            ("qkv", bytes([rows, stored_heads, self.head_dim])),
            // No binding is empty, and an entry is a cosine and a sine.
            ("rope_table", bytes([rows, rotary_dim / 2, 2]).max(8)),
            ("q_out", bytes([rows, heads, self.head_dim])),
        ]
        .into_iter()
        .chain([("k_out", kv), ("v_out", kv)].into_iter().filter(|_| !self.only_q))
        .chain(norm)
        .chain(self.to.and_then(|cache| cache.slots.size(params.pages)))
        .collect()
    }

    fn workgroups(self, params: &RopeParams, span: Span) -> u64 {
        u64::from(span.rows) * u64::from(params.heads + 2 * params.kv_heads)
    }

    fn work(self, params: &RopeParams, span: Span) -> Work {
        let (rows, head_dim) = (u64::from(span.rows), u64::from(self.head_dim));
        let q = rows * u64::from(params.heads) * head_dim;
        let kv = rows * 2 * u64::from(params.kv_heads) * head_dim;
        let read = q + if self.v_is_k { kv / 2 } else { kv };
        let turned_heads = rows * u64::from(params.heads + params.kv_heads);
        let turned = turned_heads * u64::from(params.rotary_dim);
        let kv_class = if self.to.is_some() { ByteClass::KvWrite } else { ByteClass::ActOut };
        let kv_rows = rows * 2 * u64::from(params.kv_heads);
        let stored_bytes = kv_rows * self.format().row_bytes(self.head_dim);
        let mut work = Work::default()
            .with_bytes(ByteClass::ActIn, read * 4, (q + kv) * 4)
            .with_bytes(ByteClass::Index, rows * u64::from(params.rotary_dim) * 4, turned * 8)
            .with_bytes(ByteClass::ActOut, q * 4, q * 4)
            .with_bytes(kv_class, stored_bytes, stored_bytes)
            .with_ops(OpClass::F32Other, 3 * turned, 3 * turned);
        work = self.format().store_work(kv_rows, self.head_dim, work);
        if params.temperature_floor > 0 {
            work = work.with_ops(OpClass::Sfu, rows, q).with_ops(OpClass::F32Other, q, q);
        }
        if self.qk_norm != QkNorm::None {
            let normed = turned_heads * head_dim + if self.v_norm { kv / 2 } else { 0 };
            let scales = self.qk_norm.len([params.heads, params.kv_heads], self.head_dim);
            let statistics = turned_heads + if self.v_norm { kv / 2 / head_dim } else { 0 };
            // Over all heads, each head of Q adds up all of Q's, and each of K's and V's all of K's.
            // A LayerNorm goes over them twice, and has a shift for each scale.
            let (summed, passes) = match self.qk_norm {
                QkNorm::AllHeads => (q * u64::from(params.heads) + kv * u64::from(params.kv_heads), 1),
                QkNorm::None | QkNorm::Head => (q + kv, 1),
                QkNorm::Layer { .. } => (2 * (q + kv), 2),
            };
            work = work
                .with_bytes(ByteClass::Weight, scales * 4, passes * (normed + turned) * 4)
                .with_ops(OpClass::F32Fma, passes * normed, summed)
                .with_ops(OpClass::F32Other, 2 * normed, 2 * (normed + turned))
                .with_ops(OpClass::Sfu, statistics, (q + kv) / head_dim);
        }
        work
    }
}
