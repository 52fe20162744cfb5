use wattle::kernel::SequenceSpan;
use wattle::kernels::sample_best::run_len;
use wattle::kernels::sample_pick::{SamplePick, SamplePickParams};
use wattle::reference::sample::{nucleus, sample_nucleus};

use crate::harness::{Run, span, span_words};
use crate::select::selected;
use crate::support::random::Random;

/// What `sample_best` leaves for these logits.
fn best(logits: &[f32], kept: usize) -> Vec<[f32; 4]> {
    let mut best = Vec::new();
    let run_len = run_len(kept as u32) as usize;
    for (r, run) in logits.chunks(run_len).enumerate() {
        let mut order: Vec<usize> = (0..run.len()).collect();
        order.sort_by(|&a, &b| run[b].partial_cmp(&run[a]).unwrap());
        let sum: f32 = run.iter().map(|logit| (logit - run[order[0]]).exp()).sum();
        let entry = |&token: &usize| [run[token], (r * run_len + token) as f32, sum, 0.0];
        let padding = std::iter::repeat([-3.4e38, 4_294_967_296.0, sum, 0.0]);
        best.extend(order.iter().map(entry).chain(padding).take(kept));
    }
    best
}

#[test]
fn picks_are_those_of_the_reference_and_move_the_span() {
    for variant in selected::<SamplePick>() {
        let kept = variant.kept as usize;
        for (case, count) in [1, 3, 65, 1025, 4097, 9001, 70_001].into_iter().enumerate() {
            let logits = Random::new(case as u64).gaussian(count);
            for (top_p, step, seed) in
                [(1.0, 0, 1), (0.5, 1, 2), (0.9, 2, 3), (0.0, 3, 4), (0.8, 9, 0xffff_fff0)]
            {
                let nucleus = nucleus(&logits, 1.0, kept, variant.renormalize, top_p);
                let expected = sample_nucleus(&nucleus, seed, step);
                let params = SamplePickParams { vocab_size: count as u32, max_samples: 4, top_p };
                let run = Run::new(variant, params, span(0, 1), format_args!("case {case}, seed {seed}"));
                let begin = SequenceSpan { step, seed, ..span(20, 7).into() };
                let run = run.with("best", &best(&logits, kept)).with("next_span", &span_words(&[begin]));
                let found = run.with("token_ids", &[50, 51, 52]).with("samples", &[60, 61, 62, 63]).go();
                found.same("token_ids", &[expected, 51, 52]);
                let mut samples = [60, 61, 62, 63];
                // A full record keeps its last place for the newest.
                samples[(step as usize).min(3)] = expected;
                found.same("samples", &samples);
                let moved = SequenceSpan { position: 27, rows: 1, step: step + 1, ..begin };
                found.same("next_span", &span_words(&[moved]));
            }
        }
    }
}

/// Also where the lower token's run is a higher lane's: 66 000 is in the first lane's second run.
#[test]
fn equal_scores_go_to_the_lower_token() {
    for variant in selected::<SamplePick>() {
        for largest in [[8999, 5000, 4100], [66_000, 5000, 5001], [66_000, 69_999, 66_001]] {
            let mut logits = vec![0.0; 70_000];
            largest.iter().for_each(|&token| logits[token] = 2.0);
            let params = SamplePickParams { vocab_size: 70_000, max_samples: 1, top_p: 0.0 };
            let run = Run::new(variant, params, span(0, 1), format_args!("largest at {largest:?}"));
            let run = run.with("best", &best(&logits, variant.kept as usize));
            let found = run
                .with("next_span", &span_words(&[span(0, 1).into()]))
                .out("token_ids", 1)
                .out("samples", 1)
                .go();
            found.same("token_ids", &[largest.into_iter().min().unwrap() as u32]);
        }
    }
}

/// Runs that take turns, and one that has all the best: heads move on by any number.
#[test]
fn heads_move_on_in_every_run() {
    for variant in selected::<SamplePick>() {
        let run_len = run_len(variant.kept);
        let vocab_size = 67 * run_len;
        let turns = |token: u32| (f64::from(token % run_len) * -67.0 - f64::from(token / run_len)) as f32;
        let one = |token: u32| if token / run_len == 65 { 9.0 } else { 8.9 } - (token % run_len) as f32;
        for (what, logit) in [("turns", &turns as &dyn Fn(u32) -> f32), ("one", &one)] {
            // So flat that the last of the kept are drawn too.
            let logits: Vec<f32> = (0..vocab_size).map(|token| 1e-4 * logit(token)).collect();
            let best = best(&logits, variant.kept as usize);
            let nucleus = nucleus(&logits, 1.0, variant.kept as usize, variant.renormalize, 1.0);
            for step in 0..15 {
                let params = SamplePickParams { vocab_size, max_samples: 1, top_p: 1.0 };
                let run = Run::new(variant, params, span(0, 1), format_args!("{what}, step {step}"));
                let run = run
                    .with("best", &best)
                    .with("next_span", &span_words(&[SequenceSpan { step, seed: 5, ..span(0, 1).into() }]));
                let found = run.out("token_ids", 1).out("samples", 1).go();
                found.same("token_ids", &[sample_nucleus(&nucleus, 5, step)]);
            }
        }
    }
}
