//! Gated products of which only the largest gates take part.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{Activate, Reduce};
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `sparse_glu`.
    pub struct SparseGluParams {
        /// Width of a branch, `f`.
        pub width: u32,
        /// Standard deviations of the cutoff above the mean of a row's gates.
        pub deviations: f32,
    }
}

/// `y[j] = act(max(gate[j] - cutoff, 0)) up[j]` with `cutoff = mean(gate) + deviations std(gate)` (Gemma 3n, after arXiv 2506.06644):
/// pairs of gate and up `[rows, f, 2]` to `[rows, f]`. One workgroup per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SparseGlu {
    /// The activation.
    pub activate: Activate,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for SparseGlu {
    type Params = SparseGluParams;
    const NAME: &'static str = "sparse_glu";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("sparse_glu.wgsl"))
            .with_span()
            .constant("WORKGROUP_SIZE", 256);
        self.reduce.add_to(self.activate.add_to(source, false))
    }

    fn bindings(self) -> Vec<Binding> {
        vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "pairs"), Binding::write(3, "y")]
    }

    fn variants() -> Vec<Self> {
        let of = |activate| Reduce::ALL.map(|reduce| Self { activate, reduce });
        Activate::FEED_FORWARD.into_iter().flat_map(of).collect()
    }

    fn check(self, params: &SparseGluParams) -> Result<()> {
        positive(Self::NAME, [("width", params.width)])?;
        let known = Activate::FEED_FORWARD.contains(&self.activate);
        require(
            Self::NAME,
            "activate",
            known,
            "that of a feed-forward network",
            format_args!("{:?}", self.activate),
        )
    }

    fn sizes(self, params: &SparseGluParams, rows: u32) -> Vec<(&'static str, u64)> {
        vec![("pairs", bytes([rows, params.width, 2])), ("y", bytes([rows, params.width]))]
    }

    fn workgroups(self, _: &SparseGluParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, params: &SparseGluParams, span: Span) -> Work {
        let rows = u64::from(span.rows);
        let all = rows * u64::from(params.width);
        Work::default()
            .with_bytes(ByteClass::ActIn, 2 * all * 4, 4 * all * 4)
            .with_bytes(ByteClass::ActOut, all * 4, all * 4)
            .with_ops(OpClass::F32Fma, all, all)
            .with_ops(OpClass::F32Other, 5 * all, 5 * all)
            .with_ops(OpClass::Sfu, all + rows, all + 256 * rows)
    }
}
