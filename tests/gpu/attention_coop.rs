use wattle::energy::Phase;
use wattle::fragments::{MatrixSize, Reach, ScoreBias};
use wattle::kernels::attention::Attention;
use wattle::kernels::attention_coop::AttentionCoop;

use crate::attention_case::{PREFILLS, of_size, run_case_on};
use crate::harness::gpu;
use crate::select::selected;

/// Scores of a few units, of queries as models have them.
const PLAIN: (f32, f32) = (1.0, 1.0);

#[test]
fn variants_agree_with_the_reference() {
    for (i, AttentionCoop { attention, size }) in selected::<AttentionCoop>().into_iter().enumerate() {
        let cap = if attention.softcap { 3.0 } else { 0.0 };
        for seed in [i, i + 5] {
            run_case_on(Some(size), attention, cap, seed, PLAIN);
        }
    }
}

#[test]
fn every_shape_agrees_with_the_reference() {
    let Some(size) = MatrixSize::of(gpu().capabilities()) else { return };
    for (softcap, reach, sinks) in
        [(0.0, Reach::Window, true), (5.0, Reach::Window, false), (0.0, Reach::Encoder, true)]
    {
        for seed in 0..PREFILLS.len() {
            let attention = of_size(10, softcap, reach, sinks, Phase::Prefill);
            run_case_on(Some(size), attention, softcap, seed, PLAIN);
        }
    }
    for seed in 0..PREFILLS.len() {
        let score_bias = ScoreBias::Relative { distance: 5 };
        let both = of_size(72, 0.0, Reach::Both, false, Phase::Prefill);
        run_case_on(Some(size), Attention { score_bias, ..both }, 0.0, seed, PLAIN);
    }
}

/// Scores that rise from tile to tile, by another slope for each head: sums of wide values are divided again and again.
#[test]
fn rising_scores_divide_what_was_summed() {
    let Some(size) = MatrixSize::of(gpu().capabilities()) else { return };
    for (head_dim, seed) in [(128, 9), (128, 12), (96, 13)] {
        let plain = of_size(head_dim, 0.0, Reach::Window, false, Phase::Prefill);
        let attention = Attention { score_bias: ScoreBias::Alibi { bf16: false }, ..plain };
        run_case_on(Some(size), attention, 0.0, seed, PLAIN);
    }
}

/// f16 ends at 65504 and is coarse below 2^-14: neither may be seen in queries.
#[test]
fn queries_of_any_magnitude_keep_their_precision() {
    let Some(size) = MatrixSize::of(gpu().capabilities()) else { return };
    for (seed, unit) in [(3, 1e6), (8, 1e-7), (12, 1e30), (13, 1e-30)] {
        let attention = of_size(16, 0.0, Reach::Window, false, Phase::Prefill);
        run_case_on(Some(size), attention, 0.0, seed, (1.0, unit));
    }
}

/// Scores that f16 rounds to anything: finite.
#[test]
fn large_scores_stay_finite() {
    let Some(size) = MatrixSize::of(gpu().capabilities()) else { return };
    for (seed, of) in [(3, 30.0), (8, 1e4), (11, 30.0), (12, 1e4)] {
        for softcap in [0.0, 50.0] {
            let attention = of_size(16, softcap, Reach::Window, false, Phase::Prefill);
            run_case_on(Some(size), attention, softcap, seed, (of, 1.0));
        }
    }
}
