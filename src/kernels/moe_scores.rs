//! What tokens are worth to experts.

use super::expert_plan::MAX_EXPERTS;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{Reduce, add_logits};
use crate::kernel::check::{at_most, bytes, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `moe_scores`.
    pub struct MoeScoresParams {
        /// Elements between the logits of two tokens, at least `E`.
        pub logit_stride: u32,
    }
}

/// `scores[t] = softmax(logits[t])` over the experts: `[rows, logit_stride]`, of which the first `E` count, to `[E, rows]`, as
/// `moe_expert_choice` looks at them. NaN counts as minus infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoeScores {
    /// Experts, `E`, at most [`MAX_EXPERTS`].
    pub experts: u32,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for MoeScores {
    type Params = MoeScoresParams;
    const NAME: &'static str = "moe_scores";

    fn source(self) -> Source {
        let source = add_logits(Source::kernel(Self::NAME, fragment!("moe_scores.wgsl")))
            .with_span()
            .with(fragment!("reduce/argmax.wgsl"))
            .with(fragment!("expert_weight/softmax.wgsl"))
            .constant("EXPERTS", self.experts);
        self.reduce.add_to(source)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "logits"), Binding::write(3, "scores")]
    }

    fn variants() -> Vec<Self> {
        let of = |experts| Reduce::ALL.map(|reduce| Self { experts, reduce });
        [1, 4, 8, 64, 512, MAX_EXPERTS].map(of).concat()
    }

    fn check(self, params: &MoeScoresParams) -> Result<()> {
        at_most(Self::NAME, "experts", MAX_EXPERTS, self.experts)?;
        let wide = params.logit_stride >= self.experts;
        let expected = format_args!("at least {}", self.experts);
        require(Self::NAME, "logit_stride", wide, expected, params.logit_stride)
    }

    fn sizes(self, params: &MoeScoresParams, rows: u32) -> Vec<(&'static str, u64)> {
        vec![("logits", bytes([rows, params.logit_stride])), ("scores", bytes([self.experts, rows]))]
    }

    fn workgroups(self, _: &MoeScoresParams, span: Span) -> u64 {
        u64::from(span.rows)
    }

    fn work(self, _: &MoeScoresParams, span: Span) -> Work {
        let logits = u64::from(span.rows) * u64::from(self.experts);
        // For the largest, for the sum, and for what is written.
        Work::default()
            .with_bytes(ByteClass::ActIn, logits * 4, 3 * logits * 4)
            .with_bytes(ByteClass::ActOut, logits * 4, logits * 4)
            .with_ops(OpClass::Sfu, 2 * logits, 2 * logits)
            .with_ops(OpClass::F32Other, 2 * logits, 2 * logits)
    }
}
