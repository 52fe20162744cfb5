use wattle::kernels::moe_route::{MoeRoute, MoeRouteParams};
use wattle::reference::moe::route;

use crate::bound::{EPS, exp_roundings, roundings};
use crate::harness::{Run, span};
use crate::select::selected;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

/// Rows of logits: ordinary ones, ones with many ties, all equal, huge ones, and one expert far above the others, and
/// some with experts that are ruled out.
fn logits(rows: usize, experts: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut row = |r: usize| -> Vec<f32> {
        let x = random.gaussian(experts);
        let each = |(e, x): (usize, &f32)| match r % 6 {
            0 => 3.0 * x,
            1 => (2.0 * x).round() / 2.0,
            2 => -0.5,
            3 => 1e4 * x.signum() + x,
            4 if e == experts / 2 => 1e4,
            5 if e % 3 == 1 => f32::NEG_INFINITY,
            _ => *x,
        };
        x.iter().enumerate().map(each).collect()
    };
    (0..rows).flat_map(&mut row).collect()
}

/// `exp(z - top) / sum`: the roundings of exp for this and, less, for the others, and of the sum; twice with the
/// renormalization. The shader takes `exp` of at least -80, and a device may flush what is denormal.
pub fn tolerances(logits: &[f32], experts: &[u32], weights: &[f32], rows: usize) -> Vec<f32> {
    let (count, k) = (logits.len() / rows, experts.len() / rows);
    let of_row = |row: usize| {
        let logits = &logits[row * count..][..count];
        let top = logits.iter().copied().fold(f32::MIN, f32::max);
        let exp = move |e: u32| exp_roundings((logits[e as usize] - top).max(-80.0));
        (row * k..(row + 1) * k).map(move |slot| {
            (exp(experts[slot]) + 2.0 * roundings(count) + 16.0) * EPS * weights[slot] + 2e-35
        })
    };
    (0..rows).flat_map(of_row).collect()
}

#[test]
fn choices_agree_with_the_reference() {
    for variant in selected::<MoeRoute>() {
        let count = variant.experts as usize;
        for (seed, k) in [1, 2, 3, 8, count].into_iter().filter(|k| *k <= count).enumerate() {
            let rows = [7, 1, 5][seed % 3];
            let logits = logits(rows, count, seed as u64);
            let routes = route(&logits, count, k, variant.renormalize);
            let params = MoeRouteParams { choices: k as u32 };
            let run = Run::new(variant, params, span(9, rows), format_args!("seed {seed}"));
            let run = run.with("logits", &logits).out("expert_of_slot", rows * k);
            let found = run.out("weight_of_slot", rows * k).go();
            found.same("expert_of_slot", &routes.experts);
            let tolerances = tolerances(&logits, &routes.experts, &routes.weights, rows);
            found.close("weight_of_slot", &routes.weights, Tolerance::Each(&tolerances));
        }
    }
}
