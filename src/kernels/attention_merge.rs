//! Joins the parts of a split attention.

use super::attention::{SINKS, part_bytes, sink_work, sinks_fragment, split_count};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Reach;
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `attention_merge`.
    pub struct AttentionMergeParams {
        /// Query heads, `H`.
        pub heads: u32,
        /// Width of a value.
        pub head_dim: u32,
        /// As in `attention`.
        pub reach: u32,
        /// As in `attention`.
        pub split_keys: u32,
        /// As in `attention`.
        pub max_splits: u32,
        /// As in `attention`; used to count the parts of an encoder's keys.
        pub slots: u32,
    }
}

/// `o = sum_i e^(m_i - m) o_i / sum_i e^(m_i - m) l_i`, parts in order of their keys.
///
/// Parts are `[rows H, max_splits, h + 2]`, the output is `[rows, H, h]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionMerge {
    /// As in `attention`.
    pub reach: Reach,
    /// Whether each head has a stored logit more (arXiv 2508.10925).
    pub sinks: bool,
}

impl Kernel for AttentionMerge {
    type Params = AttentionMergeParams;
    const NAME: &'static str = "attention_merge";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("attention_merge.wgsl"))
            .with_span()
            .with(self.reach.fragment())
            .with(sinks_fragment(self.sinks))
            .with(fragment!("entry/plain.wgsl"))
    }

    fn bindings(self) -> Vec<Binding> {
        [Binding::PARAMS, Binding::SPAN, Binding::read(2, "parts"), Binding::write(3, "out")]
            .into_iter()
            .chain(self.sinks.then_some(SINKS))
            .chain(self.reach.binding())
            .collect()
    }

    fn variants() -> Vec<Self> {
        let of = |reach| [false, true].map(|sinks| Self { reach, sinks });
        Reach::CAUSAL.into_iter().chain([Reach::Encoder]).flat_map(of).collect()
    }

    fn check(self, params: &AttentionMergeParams) -> Result<()> {
        positive(
            Self::NAME,
            [
                ("heads", params.heads),
                ("head_dim", params.head_dim),
                ("split_keys", params.split_keys),
                ("max_splits", params.max_splits),
            ],
        )?;
        if self.reach == Reach::Encoder {
            positive(Self::NAME, [("slots", params.slots)])?;
        }
        let splits = self.reach != Reach::Both;
        require(Self::NAME, "reach", splits, "keys that come before a query, or an encoder's", "both ways")?;
        let reaches = self.reach != Reach::Chunk || params.reach > 0;
        require(Self::NAME, "reach", reaches, "at least 1 token in a chunk", params.reach)
    }

    fn sizes(self, params: &AttentionMergeParams, rows: u32) -> Vec<(&'static str, u64)> {
        let parts = part_bytes([rows, params.heads], params.max_splits, params.head_dim);
        [("parts", parts), ("out", bytes([rows, params.heads, params.head_dim]))]
            .into_iter()
            .chain(self.sinks.then_some((SINKS.name, bytes([params.heads]))))
            .chain(self.reach.binding().map(|binding| (binding.name, 4)))
            .collect()
    }

    fn workgroups(self, params: &AttentionMergeParams, span: Span) -> u64 {
        u64::from(span.rows) * u64::from(params.heads)
    }

    fn work(self, params: &AttentionMergeParams, span: Span) -> Work {
        self.work_of(params, &[span])
    }

    fn work_of(self, params: &AttentionMergeParams, spans: &[Span]) -> Work {
        let rows = u64::from(Span::total_rows(spans));
        let (outputs, head_dim) = (rows * u64::from(params.heads), u64::from(params.head_dim));
        let of_span = |span: &Span| {
            let first = self.reach.first_visible(span.position, params.reach);
            let newest = self.reach.key_end(span.position, *span, params.slots) - 1;
            u64::from(span.rows) * u64::from(split_count(first, newest, params.split_keys))
        };
        let parts = spans.iter().map(of_span).sum::<u64>() * u64::from(params.heads);
        let mut work = Work::default()
            .with_bytes(ByteClass::Scratch, parts * (head_dim + 2) * 4, parts * (4 * head_dim + 64) * 4)
            .with_bytes(ByteClass::ActOut, outputs * head_dim * 4, outputs * head_dim * 4)
            .with_ops(OpClass::F32Fma, parts * head_dim, 2 * parts * head_dim)
            .with_ops(OpClass::Sfu, parts, parts * head_dim);
        if self.sinks {
            work += sink_work(u64::from(params.heads), outputs, head_dim);
        }
        work
    }
}
