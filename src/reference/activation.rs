//! Elementwise activations and gated products.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use crate::model::config::{Activation, GateClamp};

/// The activation of one number.
///
/// * ReLU `max(x, 0)` and its square (arXiv 2109.08668)
/// * SiLU `x / (1 + exp(-x))` (arXiv 1702.03118)
/// * GELU (arXiv 1606.08415) `x / 2 (1 + erf(x / sqrt(2)))`, or by the tanh formula
///   `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`
pub fn activate(activation: Activation, x: f32) -> f32 {
    let x = f64::from(x);
    let y = match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu2 => x.max(0.0).powi(2),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let sqrt_2_over_pi = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
            0.5 * x * (1.0 + (sqrt_2_over_pi * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::GeluErf => 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
    };
    y as f32
}

/// `y = act(gate) * up`, elementwise on `[n, f]`: GEGLU, SwiGLU, ReGLU (arXiv 2002.05202).
pub fn gated(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    gate.iter().zip(up).map(|(&gate, &up)| activate(activation, gate) * up).collect()
}

/// `y = (up + 1) * gate * sigmoid(alpha * gate)` with `gate` at most `limit` and `up` within `-limit ..= limit`, elementwise on
/// `[n, f]` (gpt-oss, arXiv 2508.10925).
pub fn clamped_gated(clamp: GateClamp, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let (alpha, limit) = (f64::from(clamp.alpha), f64::from(clamp.limit));
    let one = |(gate, up): (&f32, &f32)| {
        let (gate, up) = (f64::from(*gate).min(limit), f64::from(*up).clamp(-limit, limit));
        ((up + 1.0) * gate / (1.0 + (-alpha * gate).exp())) as f32
    };
    gate.iter().zip(up).map(one).collect()
}
