//! Sampling, second half: one token, and the sequence moved on by it.

use super::sample_best::{MAX_KEPT, MAX_RUNS, MAX_VOCAB, best_bytes, run_len};
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::kernel::check::{at_most, bytes, positive, require};
use crate::kernel::{Binding, Kernel, SPAN_BYTES, Span, params, sum_of_each};
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `sample_pick`.
    pub struct SamplePickParams {
        /// Logits.
        pub vocab_size: u32,
        /// Tokens that fit in a sequence's record of samples.
        pub max_samples: u32,
        /// Probability that the nucleus holds.
        pub top_p: f32,
    }
}

/// Lanes of the workgroup.
const LANES: u32 = 64;

/// Draws one of the `kept` best tokens (arXiv 1904.09751, section 3.1) and makes it the next call's input.
///
/// The nucleus is the shortest prefix of the kept, best first, whose probability is at least `top_p`: the token that
/// reaches it is the last one in, and the best is always in. This is the convention of Hugging Face transformers
/// (`TopPLogitsWarper` with `min_tokens_to_keep` 1, version 5.23) and of vLLM. As there, the temperature comes first,
/// then top-k, then top-p. Unlike there, no more than `kept` are kept where the last one ties with others: the lower
/// tokens are.
///
/// The best are `[sequences, runs, kept]`; a token goes to its sequence's place in `token_ids` and in the record of samples,
/// `[sequences, max_samples]`, and the span moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SamplePick {
    /// As in `sample_best`.
    pub kept: u32,
    /// Whether probabilities are those among the `kept`, as after top-k, or those of the whole softmax.
    pub renormalize: bool,
}

impl Kernel for SamplePick {
    type Params = SamplePickParams;
    const NAME: &'static str = "sample_pick";

    fn source(self) -> Source {
        Source::kernel(Self::NAME, fragment!("sample_pick.wgsl"))
            .with(fragment!("reduce/argmax.wgsl"))
            .with(fragment!("reduce/workgroup.wgsl"))
            .with(fragment!("common/random.wgsl"))
            .with(fragment!("common/span_struct.wgsl"))
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
            .constant("KEPT", self.kept)
            .constant("RUN", run_len(self.kept))
            .constant("MAX_RUNS", MAX_RUNS)
            .flag("RENORMALIZE", self.renormalize)
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
        let mut all = vec![Self { kept: 1, renormalize: true }];
        for kept in [5, 64, MAX_KEPT] {
            all.extend([false, true].map(|renormalize| Self { kept, renormalize }));
        }
        all
    }

    fn check(self, params: &SamplePickParams) -> Result<()> {
        at_most(Self::NAME, "kept", MAX_KEPT, self.kept)?;
        at_most(Self::NAME, "vocab_size", MAX_VOCAB, params.vocab_size)?;
        // Of one there is no exp sum, and no choice.
        require(Self::NAME, "renormalize", self.kept > 1 || self.renormalize, "true where 1 is kept", false)?;
        positive(Self::NAME, [("max_samples", params.max_samples)])
    }

    fn sizes(self, params: &SamplePickParams, _: u32) -> Vec<(&'static str, u64)> {
        vec![
            ("best", best_bytes(params.vocab_size, self.kept)),
            ("token_ids", bytes([1])),
            ("samples", bytes([params.max_samples])),
            ("next_span", SPAN_BYTES),
        ]
    }

    fn workgroups(self, _: &SamplePickParams, _: Span) -> u64 {
        1
    }

    fn workgroups_of(self, _: &SamplePickParams, spans: &[Span]) -> u64 {
        spans.len() as u64
    }

    fn work_of(self, params: &SamplePickParams, spans: &[Span]) -> Work {
        sum_of_each(self, params, spans)
    }

    /// As if all `kept` were taken: with the whole softmax's probabilities, a full nucleus ends it sooner.
    fn work(self, params: &SamplePickParams, _: Span) -> Work {
        let runs = u64::from(params.vocab_size.div_ceil(run_len(self.kept)));
        let kept = u64::from(self.kept.min(params.vocab_size));
        let lanes = u64::from(LANES);
        // A token taken moves one head on, and its lane looks at the heads of all its runs again.
        let heads = runs + (kept - 1) * runs.div_ceil(lanes);
        let (sums, sum_lanes) = if self.renormalize { (0, 0) } else { (runs, lanes - 1) };
        // Every lane weighs every token. Lanes compare their heads; one adds up the nucleus, and again to draw.
        let executed = heads + kept * (lanes - 1) + kept * lanes + 2 * kept + sums + sum_lanes;
        Work::default()
            .with_bytes(ByteClass::Scratch, (runs + kept - 1) * 16, (heads + sums) * 16)
            .with_bytes(ByteClass::Index, 8 + 32, 8 + 32)
            .with_ops(OpClass::F32Other, runs + 3 * kept + sums, executed)
            .with_ops(OpClass::Sfu, kept + sums, kept * lanes + sums)
    }
}
