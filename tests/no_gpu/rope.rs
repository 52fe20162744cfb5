//! Rotary positions: frequencies, tables and rotations of every scaling against golden values.

use wattle::model::config::{Rope, RopeLayout, RopeScaling};
use wattle::reference::rope::{frequencies, rotate, tables};

use crate::support::compare::{Tolerance, assert_close};
use crate::support::golden::Golden;

pub const FILES: &[&str] = &["rope"];

fn cases(golden: &Golden) -> Vec<(&'static str, Rope)> {
    let whole = |case, rotary_dim, scaling| {
        let theta = golden.float(&format!("{case}.theta")).into();
        (case, Rope { theta, rotary_dim, layout: RopeLayout::HalfSplit, scaling })
    };
    let rope = |case, scaling| whole(case, golden.integer(&format!("{case}.rotary_dim")) as u32, scaling);
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 64,
    };
    let yarn = RopeScaling::Yarn {
        factor: 32.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: false,
        magnitude: golden.float("yarn.attention_factor").into(),
        original_context: 4096,
    };
    vec![
        rope("default", RopeScaling::None),
        rope("big_theta", RopeScaling::None),
        rope("partial", RopeScaling::None),
        rope("linear", RopeScaling::Linear { factor: 8.0 }),
        rope("llama3", llama3),
        rope("yarn", yarn),
        // The file's case has heads of 16 elements, of which a quarter turns.
        whole("proportional", 16, RopeScaling::Proportional { pairs: 2, factor: 1.0 }),
    ]
}

/// The golden frequencies are rounded once; ours are rounded after every step, as models were trained with. The
/// roundings of the exponent weigh most: `ln(theta)` half units in the last place.
#[test]
fn frequencies_are_golden_but_for_their_roundings() {
    let golden = Golden::op(FILES[0]);
    for (case, rope) in cases(&golden) {
        let roundings = 0.5 * (rope.theta.ln() as f32 + 4.0) * f32::EPSILON;
        let expected = golden.floats(&format!("{case}.inv_freq"));
        assert_close(case, &frequencies(&rope), &expected, Tolerance::Mixed(0.0, roundings));
    }
}

#[test]
fn tables_are_golden_but_for_the_frequencies() {
    let golden = Golden::op(FILES[0]);
    let positions = golden.indices("positions");
    for (case, rope) in cases(&golden) {
        let read = |name: &str| golden.floats(&format!("{case}.{name}"));
        let (ours, theirs) = (frequencies(&rope), read("inv_freq"));
        // The same frequency gives the same f32 angle; another one gives an angle that is also rounded differently.
        let tolerance = |p: f32, ours: f32, theirs: f32| match ours == theirs {
            true => f32::EPSILON,
            false => f32::EPSILON * (1.0 + p * theirs) + 1.01 * p * (ours - theirs).abs(),
        };
        let pairs = || ours.iter().zip(&theirs);
        let tolerances: Vec<f32> =
            positions.iter().flat_map(|&p| pairs().map(move |(&a, &b)| tolerance(p as f32, a, b))).collect();
        let (cos, sin) = tables(&rope, &positions);
        assert_close(case, &cos, &read("cos"), Tolerance::Each(&tolerances));
        assert_close(case, &sin, &read("sin"), Tolerance::Each(&tolerances));
    }
}

#[test]
fn rotations_are_golden() {
    let golden = Golden::op(FILES[0]);
    for (case, rope) in cases(&golden) {
        let read = |name: &str| golden.floats(&format!("{case}.{name}"));
        let &[_, heads, head_dim] = &golden.shape(&format!("{case}.x"))[..] else {
            panic!("{case}: x is [T,H,h]")
        };
        for (name, layout) in [("half", RopeLayout::HalfSplit), ("interleaved", RopeLayout::Interleaved)] {
            if case == "proportional" && layout == RopeLayout::Interleaved {
                // The file has none.
                continue;
            }
            let mut x = read("x");
            rotate(&Rope { layout, ..rope }, &mut x, heads, head_dim, &read("cos"), &read("sin"));
            assert_close(&format!("{case}.{name}"), &x, &read(name), Tolerance::OfLargest(1e-6));
        }
    }
}
