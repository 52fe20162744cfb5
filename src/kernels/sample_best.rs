//! Sampling, first half: the best logits of every run of the vocabulary.

use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::Reduce;
use crate::kernel::check::{at_most, bytes};
use crate::kernel::{Binding, Kernel, Span, params, sum_of_each};
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

/// Most candidates that are kept.
pub const MAX_KEPT: u32 = 128;

/// Largest vocabulary: `sample_pick` has room for the places in so many runs. Below 2^24, up to which a token can stand
/// beside its score as `f32`.
pub const MAX_VOCAB: u32 = 1 << 20;

/// Logits that one workgroup sorts: 8 KiB of (score, token), which leaves the 16 of every device room for the sums.
const SORTED_RUN: u32 = 1024;

/// Logits that one workgroup looks through.
pub const fn run_len(kept: u32) -> u32 {
    // A single maximum is no work beside reading: long runs leave `sample_pick` little.
    if kept == 1 { 4 * SORTED_RUN } else { SORTED_RUN }
}

/// Runs of the largest vocabulary.
pub(crate) const MAX_RUNS: u32 = MAX_VOCAB / SORTED_RUN;

/// Bytes of the best of every run of a sequence.
pub fn best_bytes(vocab_size: u32, kept: u32) -> u64 {
    bytes([vocab_size.div_ceil(run_len(kept)), kept, 4])
}

/// The `kept` best of every run of logits, and where that is more than one, its share of the softmax's denominator.
///
/// Logits are `[sequences, V]`, finite, in runs of [`run_len`]; the best are `[sequences, runs, kept]` of (score, token, sum of
/// `exp(score - best)` or 0, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleBest {
    /// How many are kept, at most [`MAX_KEPT`]: 1 for the largest alone, else `top_k`.
    pub kept: u32,
    /// Whether Gumbel noise is added, so that the largest is a sample of the whole softmax.
    pub gumbel: bool,
    /// How lanes add, where more than one is kept.
    pub reduce: Reduce,
}

impl SampleBest {
    /// Logits that are sorted among themselves, before the better half of each two such blocks is kept.
    fn block(self) -> u32 {
        self.kept.next_power_of_two()
    }
}

impl Kernel for SampleBest {
    type Params = SampleBestParams;
    const NAME: &'static str = "sample_best";

    fn source(self) -> Source {
        let source = Source::kernel(Self::NAME, fragment!("sample_best.wgsl"))
            .with_span()
            .with(fragment!("reduce/argmax.wgsl"))
            .constant("KEPT", self.kept)
            .constant("RUN", run_len(self.kept));
        let source = if self.gumbel {
            source.with(fragment!("score/gumbel.wgsl")).with(fragment!("common/random.wgsl"))
        } else {
            source.with(fragment!("score/logit.wgsl"))
        };
        if self.kept == 1 {
            source.with(fragment!("keep/largest.wgsl")).with(fragment!("entry/plain.wgsl"))
        } else {
            let source = source.with(fragment!("keep/sorted.wgsl")).constant("BLOCK", self.block());
            self.reduce.add_to(source)
        }
    }

    fn bindings(self) -> Vec<Binding> {
        vec![Binding::PARAMS, Binding::SPAN, Binding::read(2, "logits"), Binding::write(3, "best")]
    }

    fn variants() -> Vec<Self> {
        let largest = [false, true].map(|gumbel| Self { kept: 1, gumbel, reduce: Reduce::Workgroup });
        let mut all = largest.to_vec();
        for kept in [5, 64, MAX_KEPT] {
            all.extend(Reduce::ALL.map(|reduce| Self { kept, gumbel: false, reduce }));
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
        u64::from(params.vocab_size.div_ceil(run_len(self.kept)))
    }

    fn workgroups_of(self, params: &SampleBestParams, spans: &[Span]) -> u64 {
        spans.iter().map(|span| self.workgroups(params, *span)).sum()
    }

    fn work_of(self, params: &SampleBestParams, spans: &[Span]) -> Work {
        sum_of_each(self, params, spans)
    }

    fn work(self, params: &SampleBestParams, span: Span) -> Work {
        let logits = u64::from(params.vocab_size);
        let runs = self.workgroups(params, span);
        let kept = runs * u64::from(self.kept) * 16;
        // What a score takes; noise takes two logarithms.
        let (scores, logarithms) = if self.gumbel { (2 * logits, 2 * logits) } else { (logits, 0) };
        let work = Work::default()
            .with_bytes(ByteClass::ActIn, logits * 4, logits * 4)
            .with_bytes(ByteClass::Scratch, kept, kept)
            .with_ops(OpClass::F32Other, scores, scores)
            .with_ops(OpClass::Sfu, logarithms, logarithms);
        if self.kept == 1 {
            return work.with_ops(OpClass::F32Other, logits, logits);
        }
        // All blocks are sorted: once to join neighbours of 1, twice for 2, three times for 4, and so on. Then each that
        // is left takes another in, and is sorted by as many steps as its last. Padding included.
        let (run, block) = (u64::from(SORTED_RUN), u64::from(self.block()));
        let joins = u64::from(block.ilog2());
        let compared = runs * (run * joins * (joins + 1) / 4 + (run - block) * (joins + 2) / 2);
        work.with_ops(OpClass::Sfu, logits, logits).with_ops(OpClass::F32Other, 2 * logits, compared + logits)
    }
}
