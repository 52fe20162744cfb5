//! Both halves of sampling, chained as in a request: each draw moves the span that the next one reads.

use wattle::fragments::Reduce;
use wattle::kernel::{Kernel, Launch, SPAN_BYTES, SequenceSpan};
use wattle::kernels::sample_best::{SampleBest, SampleBestParams, best_bytes};
use wattle::kernels::sample_pick::{SamplePick, SamplePickParams};
use wattle::reference::sample::{argmax, gumbel_score, nucleus, sample_nucleus, sample_softmax};
use wattle::reference::softmax::softmax;
use wattle::schedule::{Schedule, Site};
use wattle::{Gpu, Result, Tensor};

use crate::harness::{block_on, gpu, is_supported, record, repeat, span, span_tensor, span_words};
use crate::support::compare::assert_same;
use crate::support::frequency::assert_follows;
use crate::support::random::Random;

/// How a test draws.
#[derive(Clone, Copy, Debug)]
struct Sampler {
    kept: u32,
    gumbel: bool,
    renormalize: bool,
    inverse_temperature: f32,
    top_p: f32,
    seed: u32,
}

impl Sampler {
    /// So many tokens, one after the other in one submission.
    fn draw(self, logits: &[f32], draws: u32) -> Vec<u32> {
        let tokens: Vec<Vec<u32>> = Reduce::ALL
            .map(|reduce| SampleBest { kept: self.kept, gumbel: self.gumbel, reduce })
            .into_iter()
            .filter(is_supported)
            .map(|best| {
                let baseline = best.reduce == Reduce::Workgroup;
                block_on(self.chain(&gpu().with_baseline(baseline), best, logits, draws)).unwrap()
            })
            .collect();
        // Sums over lanes differ in their last bits, which no draw here is close enough to notice.
        tokens.iter().for_each(|other| assert_same(&format!("{self:?} by subgroups"), other, &tokens[0]));
        tokens[0].clone()
    }

    async fn chain(self, gpu: &Gpu, best: SampleBest, logits: &[f32], draws: u32) -> Result<Vec<u32>> {
        let vocab_size = logits.len() as u32;
        let params = SampleBestParams { vocab_size, inverse_temperature: self.inverse_temperature };
        let best = Launch { variant: best, params }.shared();
        let params = SamplePickParams { vocab_size, max_samples: draws, top_p: self.top_p };
        let pick = Launch { variant: SamplePick { kept: self.kept, renormalize: self.renormalize }, params }
            .shared();
        record(best.as_ref());
        record(pick.as_ref());

        let mut schedule = Schedule::new(4);
        let mut named = |name: &str, bytes| schedule.named(name, bytes);
        let (logits_id, best_id) =
            (named("logits", 4 * u64::from(vocab_size)), named("best", best_bytes(vocab_size, self.kept)));
        let (token_ids, samples) = (named("token_ids", 4), named("samples", 4 * u64::from(draws)));
        let next_span = named("next_span", SPAN_BYTES);
        let site = Site { sublayer: None, what: "sample" };
        schedule.dispatch(site, best, &[("logits", logits_id), ("best", best_id)])?;
        let outputs = [("token_ids", token_ids), ("samples", samples), ("next_span", next_span)];
        schedule.dispatch(site, pick, &[&[("best", best_id)], &outputs[..]].concat())?;

        let mut tensors = vec![("logits", Tensor::upload(gpu, "logits", logits).await?)];
        for (name, id) in [("best", best_id), ("token_ids", token_ids), ("samples", samples)] {
            tensors.push((name, Tensor::zeroed(gpu, name, schedule.tensors[id.index()].bytes).await?));
        }
        // After a prompt of 3 tokens at position 10.
        let begin = SequenceSpan { seed: self.seed, ..span(10, 3).into() };
        let next_span = span_tensor(gpu, &[begin]).await?;
        tensors.push(("next_span", next_span.clone()));
        let find = |name: &str| tensors.iter().find(|(n, _)| *n == name).map(|(_, tensor)| tensor.clone());
        repeat(gpu, schedule, &[span(10, 3)], &next_span, draws, &find).await?;

        let read = async |name: &str, count| find(name).unwrap().read::<u32>(gpu, 0, count).await;
        let tokens = read("samples", draws as usize).await?;
        assert_eq!(read("token_ids", 1).await?, tokens[tokens.len() - 1..], "{self:?}: next input");
        let moved = SequenceSpan { position: 10 + 3 + draws - 1, rows: 1, step: draws, ..begin };
        assert_eq!(read("next_span", SPAN_BYTES as usize / 4).await?, span_words(&[moved]), "{self:?}: span");
        Ok(tokens)
    }

    /// What may be drawn.
    fn nucleus(self, logits: &[f32]) -> Vec<(u32, f64)> {
        nucleus(logits, self.inverse_temperature, self.kept as usize, self.renormalize, self.top_p)
    }

    fn probabilities(self, logits: &[f32]) -> Vec<f64> {
        let scaled: Vec<f32> = logits.iter().map(|logit| logit * self.inverse_temperature).collect();
        softmax(&scaled).into_iter().map(f64::from).collect()
    }
}

const GREEDY: Sampler =
    Sampler { kept: 1, gumbel: false, renormalize: true, inverse_temperature: 1.0, top_p: 1.0, seed: 0 };

fn logits(count: usize, seed: u64) -> Vec<f32> {
    Random::new(seed).gaussian(count).iter().map(|x| 3.0 * x).collect()
}

#[test]
fn greedy_is_the_first_of_the_largest() {
    for (seed, count) in [1, 2, 63, 257, 4095, 4096, 4097, 9001].into_iter().enumerate() {
        let mut logits = logits(count, seed as u64);
        assert_eq!(GREEDY.draw(&logits, 1), [argmax(&logits)], "{count} logits");
        // The largest twice, in different runs where there are more; then all alike.
        (logits[count / 2], logits[count - 1]) = (100.0, 100.0);
        assert_eq!(GREEDY.draw(&logits, 1), [count as u32 / 2], "{count} logits, largest twice");
        assert_eq!(GREEDY.draw(&vec![-1e4; count], 1), [0], "{count} equal logits");
    }
}

/// Draws that two scores as close as f32 rounds them decide are left out; there are few.
#[test]
fn noisy_draws_are_those_of_the_reference() {
    for (seed, count, draws) in [(1, 65, 300), (2, 4097, 40), (0xffff_ffff, 9001, 20)] {
        let logits = logits(count, u64::from(seed));
        let sampler = Sampler { gumbel: true, inverse_temperature: 0.8, seed, ..GREEDY };
        let found = sampler.draw(&logits, draws);
        let mut close = 0;
        for (draw, &found) in (0..draws).zip(&found) {
            let score = |token: u32| gumbel_score(logits[token as usize], 0.8, seed, draw, token);
            let expected = sample_softmax(&logits, 0.8, seed, draw);
            if found != expected && score(expected) - score(found) < 2e-5 {
                close += 1;
            } else {
                assert_eq!(found, expected, "{count} logits, seed {seed}, draw {draw}");
            }
        }
        assert!(close <= 1, "{close} of {draws} draws were too close to tell");
    }
}

/// Sizes below what is kept, that fill runs of 1024 in part, whole and one more, and that give lanes several runs.
#[test]
fn draws_from_the_best_are_those_of_the_reference() {
    let cases = [
        (1, 1, 5, 0.9, 1.0),
        (2, 3, 5, 1.0, 1.0),
        (3, 63, 5, 0.7, 1.0),
        (4, 65, 128, 0.95, 0.5),
        (5, 257, 64, 0.9, 0.5),
        (6, 1023, 64, 0.9, 0.3),
        (7, 1024, 128, 1.0, 0.3),
        (8, 1025, 128, 0.9, 0.2),
        (9, 4097, 64, 0.3, 1.0),
        (10, 9001, 128, 0.95, 2.0),
        (11, 9001, 5, 0.0, 1.0),
        (12, 50_257, 64, 0.9, 1.0),
        (13, 70_001, 128, 0.2, 1.0),
        (14, 9001, 1, 0.5, 1.0),
    ];
    for (seed, count, kept, top_p, inverse_temperature) in cases {
        let logits = logits(count, u64::from(seed));
        let draws = if count < 10_000 { 50 } else { 10 };
        // Of one there is no sum.
        for renormalize in [true, false].into_iter().filter(|renormalize| *renormalize || kept > 1) {
            let sampler = Sampler { kept, gumbel: false, renormalize, inverse_temperature, top_p, seed };
            let nucleus = sampler.nucleus(&logits);
            let expected: Vec<u32> = (0..draws).map(|draw| sample_nucleus(&nucleus, seed, draw)).collect();
            assert_same(&format!("{count} logits, {sampler:?}"), &sampler.draw(&logits, draws), &expected);
        }
    }
}

/// Equal logits have exact sums: the nucleus ends with the token that reaches `top_p`, of what is kept or of the whole,
/// and is made of the lowest tokens.
#[test]
fn a_nucleus_ends_with_the_token_that_reaches_top_p() {
    const DRAWS: u32 = 250;
    for (kept, renormalize, top_p, size) in [
        (64, true, 0.25, 16),
        (64, true, 0.251, 17),
        (64, true, 0.249, 16),
        (64, true, 1e-6, 1),
        (5, true, 1.0, 5),
        (64, false, 16.0 / 2048.0, 16),
        (64, false, 16.1 / 2048.0, 17),
        (64, false, 15.9 / 2048.0, 16),
        (5, false, 0.9, 5),
    ] {
        let sampler = Sampler { kept, renormalize, top_p, seed: 3, ..GREEDY };
        let mut drawn = sampler.draw(&[0.5; 2048], DRAWS);
        drawn.sort_unstable();
        drawn.dedup();
        // So many draws miss none of so few.
        assert_eq!(drawn, (0..size).collect::<Vec<u32>>(), "{sampler:?}");
        assert_eq!(sampler.nucleus(&[0.5; 2048]).len(), size as usize, "{sampler:?}");
    }
}

#[test]
fn draws_follow_the_distribution() {
    let logits = [0.5, -1.0, 2.0, 1.9, 0.0, -3.0, 2.0, 1.0, -0.5];
    let whole = Sampler { gumbel: true, inverse_temperature: 0.7, seed: 11, ..GREEDY };
    assert_follows("softmax", &whole.draw(&logits, 2000), &whole.probabilities(&logits));
    // The five hold 0.88 of the whole: 0.8 is four of them, or five.
    for (renormalize, top_p) in [(true, 1.0), (true, 0.8), (false, 0.8)] {
        let sampler = Sampler { kept: 5, gumbel: false, renormalize, top_p, ..whole };
        let mut expected = vec![0.0; logits.len()];
        sampler.nucleus(&logits).iter().for_each(|&(token, p)| expected[token as usize] = p);
        assert_follows(&format!("{sampler:?}"), &sampler.draw(&logits, 2000), &expected);
    }
}

#[test]
fn chains_cover_every_kept_count() {
    for SamplePick { kept, renormalize } in SamplePick::variants() {
        let sampler = Sampler { kept, renormalize, ..GREEDY };
        let logits = logits(300, 1);
        let nucleus = sampler.nucleus(&logits);
        let expected: Vec<u32> = (0..20).map(|draw| sample_nucleus(&nucleus, 0, draw)).collect();
        assert_same(&format!("{sampler:?}"), &sampler.draw(&logits, 20), &expected);
    }
}
