//! The router's choice.

use super::expert_plan::check_choices;
use super::moe_scan::MAX_EXPERTS;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Reduce;
use crate::kernel::check::{at_most, bytes};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `moe_route`.
    pub struct MoeRouteParams {
        /// Experts per token, `k`.
        pub choices: u32,
    }
}

/// The `k` largest logits of each token, ties to the lower index, weighted by softmax over all experts (arXiv 2006.16668,
/// 2101.03961).
///
/// Logits are `[rows, E]`; chosen experts and their weights are `[rows, k]`, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeRoute {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
    /// Whether the `k` weights are divided by their sum.
    pub renormalize: bool,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for MoeRoute {
    type Params = MoeRouteParams;
    const NAME: &'static str = "moe_route";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("moe_route.wgsl"))
            .with_span()
            .with(fragment!("reduce/argmax.wgsl"))
            .constant("EXPERTS", self.experts)
            .flag("RENORMALIZE", self.renormalize);
        self.reduce.add_to(source)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::SPAN,
            Binding::read(2, "logits"),
            Binding::write(3, "expert_of_slot"),
            Binding::write(4, "weight_of_slot"),
        ]
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for experts in [1, 4, 8, 64, 512, MAX_EXPERTS] {
            for renormalize in [false, true] {
                all.extend(Reduce::ALL.map(|reduce| Self { experts, renormalize, reduce }));
            }
        }
        all
    }

    fn check(self, params: &MoeRouteParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        check_choices(Self::NAME, self.experts, params.choices)
    }

    fn sizes(self, params: &MoeRouteParams, rows: u32) -> Vec<(&'static str, u64)> {
        let slots = bytes([rows, params.choices]);
        vec![("logits", bytes([rows, self.experts])), ("expert_of_slot", slots), ("weight_of_slot", slots)]
    }

    fn workgroups(self, _: &MoeRouteParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, params: &MoeRouteParams, span: Span) -> Work {
        let (rows, experts) = (u64::from(span.rows), u64::from(self.experts));
        let slots = rows * u64::from(params.choices);
        Work::default()
            .with_bytes(ByteClass::ActIn, rows * experts * 4, rows * experts * 4)
            .with_bytes(ByteClass::Index, slots * 8, slots * 8)
            .with_ops(OpClass::Sfu, rows * experts + slots, rows * experts + slots)
            .with_ops(OpClass::F32Other, slots * experts, slots * experts)
    }
}
