//! Sampling, first half: the best logits of every run of the vocabulary.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Reduce;
use crate::kernel::check::{at_most, bytes};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `sample_best`.
    pub struct SampleBestParams {
        /// Logits.
        pub vocab_size: u32,
        /// Multiplies each logit.
        pub inverse_temperature: f32,
    }
}

/// Logits that one workgroup looks through.
pub const RUN: u64 = 4096;

/// Most candidates that are kept.
pub const MAX_KEPT: u32 = 128;

/// Largest vocabulary: a token stands beside its score as `f32`, which holds every integer up to here.
pub const MAX_VOCAB: u32 = 1 << 24;

/// Bytes of the best of every run.
pub(crate) fn best_bytes(vocab_size: u32, kept: u32) -> u64 {
    bytes([vocab_size.div_ceil(RUN as u32), kept, 4])
}

/// The `kept` best of every 4096 logits, and the run's share of the softmax's denominator.
///
/// Logits are `[V]`; the best are `[runs, kept]` of (score, token, sum of `exp(score - best)`, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleBest {
    /// How many are kept, at most [`MAX_KEPT`]: 1 for the largest alone, else `top_k`.
    pub kept: u32,
    /// Whether Gumbel noise is added, so that the largest is a sample of the whole softmax.
    pub gumbel: bool,
    /// How lanes add.
    pub reduce: Reduce,
}

impl Kernel for SampleBest {
    type Params = SampleBestParams;
    const NAME: &'static str = "sample_best";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("sample_best.wgsl"))
            .with(fragment!("reduce/argmax.wgsl"))
            .constant("KEPT", self.kept)
            .constant("RUN", RUN as u32);
        let source = if self.gumbel {
            source
                .with(fragment!("score/gumbel.wgsl"))
                .with(fragment!("common/random.wgsl"))
                .with(fragment!("common/span.wgsl"))
        } else {
            source.with(fragment!("score/logit.wgsl"))
        };
        self.reduce.add_to(source)
    }

    fn bindings(self) -> Vec<Binding> {
        let span = self.gumbel.then_some(Binding::SPAN);
        [Binding::PARAMS, Binding::read(2, "logits"), Binding::write(3, "best")]
            .into_iter()
            .chain(span)
            .collect()
    }

    fn variants() -> Vec<Self> {
        let mut all = Vec::new();
        for (kept, gumbel) in [(1, false), (1, true), (5, false), (64, false), (128, false)] {
            all.extend(Reduce::ALL.map(|reduce| Self { kept, gumbel, reduce }));
        }
        all
    }

    fn check(self, params: &SampleBestParams) -> Result<()> {
        at_most(Self::NAME, "kept", MAX_KEPT, self.kept)?;
        at_most(Self::NAME, "vocab_size", MAX_VOCAB, params.vocab_size)
    }

    fn sizes(self, params: &SampleBestParams, _: u32) -> Vec<(&'static str, u64)> {
        vec![("logits", bytes([params.vocab_size])), ("best", best_bytes(params.vocab_size, self.kept))]
    }

    fn workgroups(self, params: &SampleBestParams, _: Span) -> u64 {
        u64::from(params.vocab_size).div_ceil(RUN)
    }

    fn work(self, params: &SampleBestParams, span: Span) -> Work {
        let logits = u64::from(params.vocab_size);
        let kept = self.workgroups(params, span) * u64::from(self.kept) * 16;
        let passes = u64::from(self.kept) + 1;
        Work::default()
            .with_bytes(ByteClass::ActIn, logits * 4, passes * logits * 4)
            .with_bytes(ByteClass::Scratch, kept, kept)
            .with_ops(OpClass::F32Other, logits, 2 * passes * logits)
            .with_ops(OpClass::Sfu, logits, logits * if self.gumbel { 1 + 2 * passes } else { 1 })
    }
}
