//! Sampling, second half: one token, and the sequence moved on by it.

use super::sample_best::{MAX_KEPT, MAX_VOCAB, RUN, best_bytes};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::{at_most, bytes, positive};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `sample_pick`.
    pub struct SamplePickParams {
        /// Logits.
        pub vocab_size: u32,
        /// Tokens that fit in the record of samples.
        pub max_samples: u32,
        /// Probability that the nucleus holds.
        pub top_p: f32,
    }
}

/// Draws one of the `kept` best tokens (arXiv 1904.09751, section 3.1) and makes it the next call's input.
///
/// The best are `[runs, kept]`; the token goes to `token_ids[0]` and to the record of samples, and the span moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SamplePick {
    /// As in `sample_best`.
    pub kept: u32,
}

impl Kernel for SamplePick {
    type Params = SamplePickParams;
    const NAME: &'static str = "sample_pick";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("sample_pick.wgsl"))
            .with(fragment!("reduce/argmax.wgsl"))
            .with(fragment!("common/random.wgsl"))
            .with(fragment!("entry/plain.wgsl"))
            .constant("KEPT", self.kept)
            .constant("RUN", RUN as u32)
    }

    fn bindings(self) -> Vec<Binding> {
        vec![
            Binding::PARAMS,
            Binding::read(2, "best"),
            Binding::write(3, "token_ids"),
            Binding::write(4, "samples"),
            Binding::write(5, "next_span"),
        ]
    }

    fn variants() -> Vec<Self> {
        [1, 5, 64, 128].map(|kept| Self { kept }).to_vec()
    }

    fn check(self, params: &SamplePickParams) -> Result<()> {
        at_most(Self::NAME, "kept", MAX_KEPT, self.kept)?;
        at_most(Self::NAME, "vocab_size", MAX_VOCAB, params.vocab_size)?;
        positive(Self::NAME, [("max_samples", params.max_samples)])
    }

    fn sizes(self, params: &SamplePickParams, _: u32) -> Vec<(&'static str, u64)> {
        vec![
            ("best", best_bytes(params.vocab_size, self.kept)),
            ("token_ids", bytes([1])),
            ("samples", bytes([params.max_samples])),
            ("next_span", bytes([4])),
        ]
    }

    fn workgroups(self, _: &SamplePickParams, _: Span) -> u64 {
        1
    }

    fn work(self, params: &SamplePickParams, _: Span) -> Work {
        let candidates = u64::from(params.vocab_size).div_ceil(RUN) * u64::from(self.kept);
        let kept = u64::from(self.kept);
        Work::default()
            .with_bytes(ByteClass::Scratch, candidates * 16, kept * candidates * 8)
            .with_bytes(ByteClass::Index, 8 + 32, 8 + 32)
            .with_ops(OpClass::F32Other, candidates, kept * candidates)
            .with_ops(OpClass::Sfu, kept, 2 * kept)
    }
}
