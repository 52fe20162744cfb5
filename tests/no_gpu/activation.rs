use wattle::model::config::Activation::{self, GeluErf, GeluTanh, Relu, Relu2, Silu};
use wattle::reference::activation::{activate, gated};
use wattle::reference::softmax::softcap;

use crate::support::compare::{Tolerance, assert_close};
use crate::support::golden::Golden;

pub const FILES: &[&str] = &["activation"];

/// One f32 rounding or two, and the f64 cancellation in `1 + tanh` of a very negative number.
const TOLERANCE: Tolerance = Tolerance::Mixed(2e-15, 1.5e-7);

fn map(x: &[f32], f: impl Fn(f32) -> f32) -> Vec<f32> {
    x.iter().map(|&x| f(x)).collect()
}

#[test]
fn activations_are_golden() {
    let golden = Golden::op(FILES[0]);
    let x = golden.floats("x");
    let cases: [(&str, Activation); 5] =
        [("relu", Relu), ("relu2", Relu2), ("silu", Silu), ("gelu_tanh", GeluTanh), ("gelu_erf", GeluErf)];
    for (name, activation) in cases {
        assert_close(name, &map(&x, |x| activate(activation, x)), &golden.floats(name), TOLERANCE);
    }
}

#[test]
fn gated_products_are_golden() {
    let golden = Golden::op(FILES[0]);
    let (gate, up) = (golden.floats("x"), golden.floats("up"));
    let cases = [("geglu_tanh", GeluTanh), ("geglu_erf", GeluErf), ("swiglu", Silu), ("reglu", Relu)];
    for (name, activation) in cases {
        assert_close(name, &gated(activation, &gate, &up), &golden.floats(name), TOLERANCE);
    }
}

#[test]
fn soft_caps_are_golden() {
    let golden = Golden::op(FILES[0]);
    let x = golden.floats("x");
    for (name, cap) in [("softcap_5", 5.0), ("softcap_30", 30.0)] {
        assert_close(name, &map(&x, |x| softcap(Some(cap), x)), &golden.floats(name), TOLERANCE);
    }
    assert_eq!(map(&x, |x| softcap(None, x)), x);
}

#[test]
fn large_arguments_stay_finite() {
    for activation in [Relu, Relu2, Silu, GeluTanh, GeluErf] {
        assert_eq!(activate(activation, -1e4), 0.0, "{activation:?}");
        assert!(activate(activation, 1e4) >= 1e4, "{activation:?}");
    }
}
