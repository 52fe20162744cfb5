//! RMSNorm and LayerNorm over rows, alone or with the residual that follows; or a scale and a shift for each input.

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
        /// Rows of each token: a token's choices of experts on the way out of them, else 1.
        pub rows_per_token: u32,
        /// Multiplies all of it.
        pub factor: f32,
    }
}

/// `y[r] = (residual[r] + kept[r] + norm(x[r])) factor scale`, all but the scale `[rows, width]`, one workgroup per row (RMSNorm: arXiv 1910.07467; LayerNorm:
/// arXiv 1607.06450).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Norm {
    /// Which norm; [`InputNorm::None`] is no variant of this kernel.
    pub norm: InputNorm,
    /// Whether a residual is added.
    pub residual: bool,
    /// Whether another tensor is, too. Only beside a residual.
    pub kept: bool,
    /// Whether all of it is multiplied by a stored number.
    pub scaled: bool,
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
            .with(match self.kept {
                true => fragment!("residual/add_two.wgsl"),
                false => residual_fragment(self.residual),
            })
            .with(match self.scaled {
                true => fragment!("output_scale/stored.wgsl"),
                false => fragment!("output_scale/none.wgsl"),
            });
        self.reduce.add_to(self.norm.add_to(source)).constant("WORKGROUP_SIZE", 64)
    }

    fn bindings(self) -> Vec<Binding> {
        let residual = self.residual.then_some(Binding::read(6, "residual"));
        [Binding::PARAMS, Binding::SPAN, Binding::read(4, "x"), Binding::write(7, "y")]
            .into_iter()
            .chain(self.norm.binding())
            .chain(residual)
            .chain(self.kept.then_some(Binding::read(10, "kept")))
            .chain(self.scaled.then_some(Binding::read(9, "stored_scale")))
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for norm in InputNorm::ALL.into_iter().filter(|norm| *norm != InputNorm::None) {
            for (residual, scaled) in [(false, false), (true, false), (true, true)] {
                all.extend(Reduce::ALL.map(|reduce| Self { norm, residual, kept: false, scaled, reduce }));
            }
            let both = Self { norm, residual: true, kept: true, scaled: false, reduce: Reduce::Workgroup };
            all.extend(Reduce::ALL.map(|reduce| Self { reduce, ..both }));
        }
        all
    }

    fn check(self, params: &NormParams) -> Result<()> {
        require(Self::NAME, "norm", self.norm != InputNorm::None, "a norm", "none")?;
        require(Self::NAME, "kept", self.residual || !self.kept, "none but beside a residual", "one")?;
        let NormParams { in_features, rows_per_token, .. } = *params;
        positive(Self::NAME, [("in_features", in_features), ("rows_per_token", rows_per_token)])
    }

    fn sizes(self, params: &NormParams, rows: u32) -> Vec<(&'static str, u64)> {
        let each = bytes([rows, params.rows_per_token, params.in_features]);
        let residual = self.residual.then_some(("residual", each));
        [("x", each), ("y", each)]
            .into_iter()
            .chain(self.norm.size(params.in_features))
            .chain(residual)
            .chain(self.kept.then_some(("kept", each)))
            .chain(self.scaled.then_some(("stored_scale", bytes([1]))))
            .collect()
    }

    fn workgroups(self, params: &NormParams, span: Span) -> u64 {
        u64::from(span.rows) * u64::from(params.rows_per_token)
    }

    fn work(self, params: &NormParams, span: Span) -> Work {
        let (rows, width) = (self.workgroups(params, span), u64::from(params.in_features));
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
        if self.kept {
            work = work.with_bytes(ByteClass::ActIn, bytes, bytes);
            work = work.with_ops(OpClass::F32Other, rows * width, rows * width);
        }
        if self.scaled {
            work = work.with_bytes(ByteClass::Weight, 4, rows * width * 4);
            work = work.with_ops(OpClass::F32Other, rows * width, rows * width);
        }
        self.norm.work(width, rows, [1, 1], work)
    }
}
