use wattle::kernels::sample_best::RUN;
use wattle::kernels::sample_pick::{SamplePick, SamplePickParams};
use wattle::reference::sample::{nucleus, sample_nucleus};

use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::random::Random;

/// What `sample_best` leaves for these logits.
fn best(logits: &[f32], kept: usize) -> Vec<[f32; 4]> {
    let mut best = Vec::new();
    for (r, run) in logits.chunks(RUN as usize).enumerate() {
        let mut order: Vec<usize> = (0..run.len()).collect();
        order.sort_by(|&a, &b| run[b].partial_cmp(&run[a]).unwrap());
        let sum: f32 = run.iter().map(|logit| (logit - run[order[0]]).exp()).sum();
        let entry = |&token: &usize| [run[token], (r * RUN as usize + token) as f32, sum, 0.0];
        let padding = std::iter::repeat([-3.4e38, 4_294_967_296.0, sum, 0.0]);
        best.extend(order.iter().map(entry).chain(padding).take(kept));
    }
    best
}

#[test]
fn picks_are_those_of_the_reference_and_move_the_span() {
    for variant in selected::<SamplePick>() {
        let kept = variant.kept as usize;
        for (case, count) in [1, 3, 65, 4097, 9001].into_iter().enumerate() {
            let logits = Random::new(case as u64).gaussian(count);
            for (top_p, step, seed) in
                [(1.0, 0, 1), (0.5, 1, 2), (0.9, 2, 3), (0.0, 3, 4), (0.8, 9, 0xffff_fff0)]
            {
                let nucleus = nucleus(&logits, 1.0, kept, top_p);
                let expected = sample_nucleus(&nucleus, seed, step);
                let params = SamplePickParams { vocab_size: count as u32, max_samples: 4, top_p };
                let run = Run::new(variant, params, span(0, 1), format_args!("case {case}, seed {seed}"));
                let run = run.with("best", &best(&logits, kept)).with("next_span", &[20, 7, step, seed]);
                let found = run.with("token_ids", &[50, 51, 52]).with("samples", &[60, 61, 62, 63]).go();
                found.same("token_ids", &[expected, 51, 52]);
                let mut samples = [60, 61, 62, 63];
                // A full record keeps its last place for the newest.
                samples[(step as usize).min(3)] = expected;
                found.same("samples", &samples);
                found.same("next_span", &[27, 1, step + 1, seed]);
            }
        }
    }
}

#[test]
fn equal_scores_go_to_the_lower_token() {
    for variant in selected::<SamplePick>().into_iter().filter(|variant| variant.kept == 1) {
        let mut logits = vec![0.0; 9000];
        (logits[8999], logits[5000], logits[4100]) = (2.0, 2.0, 2.0);
        let params = SamplePickParams { vocab_size: 9000, max_samples: 1, top_p: 1.0 };
        let run = Run::new(variant, params, span(0, 1), "three of the largest");
        let run = run.with("best", &best(&logits, 1)).with("next_span", &[0, 1, 0, 0]);
        let found = run.out("token_ids", 1).out("samples", 1).go();
        found.same("token_ids", &[4100]);
    }
}
