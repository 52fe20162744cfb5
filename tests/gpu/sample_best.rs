use wattle::kernels::sample_best::{SampleBest, SampleBestParams, best_bytes, run_len};
use wattle::reference::sample::{argmax, gumbel_score};

use crate::bound::{EPS, exp_roundings, roundings};
use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;
use crate::support::random::Random;

const SEED: u32 = 17;
const STEP: u32 = 3;
const LEAST: f32 = -3.4e38;

fn score(variant: SampleBest, inverse_temperature: f32, token: usize, logit: f32) -> f64 {
    if variant.gumbel {
        return gumbel_score(logit, inverse_temperature, SEED, STEP, token as u32);
    }
    // Lower ones count as this.
    f64::from((logit * inverse_temperature).max(LEAST))
}

/// Scores and tokens best first, of those there are; then the exp sum and its tolerance.
fn expected(variant: SampleBest, run: &[(usize, f64)]) -> (Vec<f32>, Vec<u32>, f32, f32) {
    let mut order = run.to_vec();
    // Not a total order: -0 and 0 are a tie.
    order.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
    let sum: f64 = order.iter().map(|(_, s)| (s - order[0].1).exp()).sum();
    // The largest alone has none.
    let sum = if variant.kept == 1 { 0.0 } else { sum };
    let c = exp_roundings(1.0) + roundings(run.len());
    let tolerance = c * EPS * sum as f32 + run.len() as f32 * 2e-35;
    order.truncate(variant.kept as usize);
    let (tokens, scores) = order.iter().map(|&(token, score)| (token as u32, score as f32)).unzip();
    (scores, tokens, sum as f32, tolerance)
}

fn check(variant: SampleBest, logits: &[f32], inverse_temperature: f32, what: &str) {
    let params = SampleBestParams { vocab_size: logits.len() as u32, inverse_temperature };
    let words = best_bytes(params.vocab_size, variant.kept) as usize / 4;
    let what = format!("{what}, {} logits", logits.len());
    let run = Run::new(variant, params, span(5, 1), &what).noise(STEP, SEED).with("logits", logits);
    let found = run.out("best", words).go();
    let scores: Vec<(usize, f64)> =
        logits.iter().enumerate().map(|(t, &l)| (t, score(variant, inverse_temperature, t, l))).collect();
    let noise = if variant.gumbel { 1e-5 } else { 0.0 };
    let runs = scores.chunks(run_len(variant.kept) as usize);
    for (run, best) in runs.zip(found.floats("best").chunks(variant.kept as usize * 4)) {
        let (scores, tokens, sum, tolerance) = expected(variant, run);
        let column = |c: usize| best.iter().skip(c).step_by(4).copied().collect::<Vec<f32>>();
        let what = format!("{} run at {}", found.what(), run[0].0);
        assert_close(
            &format!("{what}, scores"),
            &column(0)[..scores.len()],
            &scores,
            Tolerance::Mixed(noise, noise),
        );
        let as_u32: Vec<u32> = column(1).iter().map(|&token| token as u32).collect();
        assert_same(&format!("{what}, tokens"), &as_u32[..tokens.len()], &tokens);
        let sums = vec![sum; variant.kept as usize];
        assert_close(&format!("{what}, exp sums"), &column(2), &sums, Tolerance::Mixed(tolerance, 0.0));
        // Where there are fewer than are kept, what is left is worse than any score.
        assert!(column(0)[scores.len()..].iter().all(|&score| score == LEAST), "{what}: {:?}", column(0));
    }
}

#[test]
fn the_best_of_each_run_are_those_of_the_reference() {
    for variant in selected::<SampleBest>() {
        let counts = [1, 3, 63, 64, 65, 257, 1023, 1024, 1025, 4095, 4096, 4097, 50_257];
        for (seed, count) in counts.into_iter().enumerate() {
            let x = Random::new(seed as u64).gaussian(count);
            let (what, inverse_temperature) = (format!("seed {seed}"), [1.0, 0.3, 7.0][seed % 3]);
            check(variant, &x, inverse_temperature, &what);
            // Ties need equal scores; noise has none.
            if !variant.gumbel {
                let tied: Vec<f32> = x.iter().map(|x| x.round()).collect();
                check(variant, &tied, inverse_temperature, &format!("{what}, ties"));
            }
            let huge: Vec<f32> = x.iter().map(|x| 1e4 * x.signum() + 0.01 * x.trunc()).collect();
            check(SampleBest { gumbel: false, ..variant }, &huge, 1.0, &format!("{what}, huge"));
            // Tokens that there are not must not win against the least logit there is.
            let least = vec![f32::MIN; count];
            check(SampleBest { gumbel: false, ..variant }, &least, 1.0, &format!("{what}, least"));
        }
    }
}

/// The runs' largest and exp sums together are the logarithm of the sum of exponentials.
#[test]
fn softmax_is_golden() {
    let golden = Golden::op("softmax");
    for variant in selected::<SampleBest>().into_iter().filter(|variant| !variant.gumbel) {
        for width in [1, 7, 257, 1025] {
            let rows = golden.floats(&format!("x.{width}"));
            let mut found = (vec![], vec![]);
            for x in rows.chunks(width) {
                let params = SampleBestParams { vocab_size: width as u32, inverse_temperature: 1.0 };
                let words = best_bytes(params.vocab_size, variant.kept) as usize / 4;
                let run = Run::new(variant, params, span(0, 1), "golden").with("logits", x);
                let outputs = run.out("best", words).go();
                let runs = outputs.floats("best").chunks(variant.kept as usize * 4);
                let best =
                    runs.clone().reduce(|best, run| if run[0] > best[0] { run } else { best }).unwrap();
                let sum: f32 = runs.map(|run| run[2] * (run[0] - best[0]).exp()).sum();
                assert_eq!(best[1] as u32, argmax(x));
                found.0.push(best[1] as u32);
                found.1.push(best[0] + sum.ln());
            }
            assert_same("argmax", &found.0, &golden.indices(&format!("argmax.{width}")));
            // The largest alone comes without a sum.
            if variant.kept > 1 {
                let expected = golden.floats(&format!("logsumexp.{width}"));
                assert_close("logsumexp", &found.1, &expected, Tolerance::Mixed(1e-6, 1e-6));
            }
        }
    }
}
