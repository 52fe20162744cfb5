//! RMSNorm and LayerNorm over rows, alone or with the residual that follows.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{InputNorm, Reduce, residual_fragment};
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `norm`.
    pub struct NormParams {
        /// Width of a row.
        pub in_features: u32,
        /// Added to the mean square or variance.
        pub eps: f32,
    }
}

/// `y[r] = residual[r] + norm(x[r])`, all `[rows, width]`, one workgroup per row (RMSNorm: arXiv 1910.07467; LayerNorm:
/// arXiv 1607.06450).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Norm {
    /// Which norm; [`InputNorm::None`] is no variant of this kernel.
    pub norm: InputNorm,
    /// Whether a residual is added.
    pub residual: bool,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for Norm {
    type Params = NormParams;
    const NAME: &'static str = "norm";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("norm.wgsl"))
            .with(fragment!("linear/input.wgsl"))
            .with_span()
            .with(residual_fragment(self.residual));
        self.reduce.add_to(self.norm.add_to(source)).constant("WORKGROUP_SIZE", 64)
    }

    fn bindings(self) -> Vec<Binding> {
        let residual = self.residual.then_some(Binding::read(6, "residual"));
        [Binding::PARAMS, Binding::SPAN, Binding::read(4, "x"), Binding::write(7, "y")]
            .into_iter()
            .chain(self.norm.binding())
            .chain(residual)
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for norm in [InputNorm::Rms, InputNorm::Layer] {
            for residual in [false, true] {
                all.extend(Reduce::ALL.map(|reduce| Self { norm, residual, reduce }));
            }
        }
        all
    }

    fn check(self, params: &NormParams) -> Result<()> {
        require(Self::NAME, "norm", self.norm != InputNorm::None, "a norm", "none")?;
        positive(Self::NAME, [("in_features", params.in_features)])
    }

    fn sizes(self, params: &NormParams, rows: u32) -> Vec<(&'static str, u64)> {
        let each = bytes([rows, params.in_features]);
        let residual = self.residual.then_some(("residual", each));
        [("x", each), ("y", each)]
            .into_iter()
            .chain(self.norm.size(params.in_features))
            .chain(residual)
            .collect()
    }

    fn workgroups(self, _: &NormParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, params: &NormParams, span: Span) -> Work {
        let (rows, width) = (u64::from(span.rows), u64::from(params.in_features));
        let bytes = rows * width * 4;
        let mut work = Work::default().with_bytes(ByteClass::ActIn, bytes, bytes).with_bytes(
            ByteClass::ActOut,
            bytes,
            bytes,
        );
        if self.residual {
            work = work.with_bytes(ByteClass::ActIn, bytes, bytes);
            work = work.with_ops(OpClass::F32Other, rows * width, rows * width);
        }
        self.norm.work(width, rows, 1, work)
    }
}
