//! Rotary positions (arXiv 2104.09864).

use std::f64::consts::TAU;

use crate::model::config::{Rope, RopeLayout, RopeScaling};

/// Radians per token of each rotated pair, `[r / 2]` with `r = rotary_dim`: `theta^(-2i / r)`, then stretched.
///
/// Rounded to f32 after every step, as `transformers` 5.23.0 does on f32 tensors: a checkpoint was trained with
/// those roundings, and at position 8000 the last bit of a frequency is an angle of 1e-3.
pub fn frequencies(rope: &Rope) -> Vec<f32> {
    let pair = |i: u32| {
        let exponent = (2 * i) as f32 / rope.rotary_dim as f32;
        // In f64 so that the power is the nearest f32 whatever the platform's powf.
        let wavelength = f64::from(rope.theta as f32).powf(f64::from(exponent)) as f32;
        match rope.scaling {
            RopeScaling::Yarn { .. } => yarn(rope, i, wavelength),
            RopeScaling::Proportional { pairs, factor } => {
                if i < pairs {
                    1.0 / wavelength / factor as f32
                } else {
                    0.0
                }
            }
            scaling => stretch(scaling, 1.0 / wavelength),
        }
    };
    (0..rope.rotary_dim / 2).map(pair).collect()
}

/// The frequency of pair `i`, between that of its wavelength and one divided by the factor: see [`RopeScaling::Yarn`].
fn yarn(rope: &Rope, i: u32, wavelength: f32) -> f32 {
    let RopeScaling::Yarn { factor, beta_fast, beta_slow, truncate, original_context, .. } = rope.scaling
    else {
        return 1.0 / wavelength;
    };
    let dim = f64::from(rope.rotary_dim);
    let pair_of =
        |turns: f64| dim * (f64::from(original_context) / (turns * TAU)).ln() / (2.0 * rope.theta.ln());
    let (mut low, mut high) = (pair_of(beta_fast), pair_of(beta_slow));
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dim - 1.0));
    if low == high {
        high += 0.001;
    }
    let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
    let kept = 1.0 - ramp;
    1.0 / (factor as f32 * wavelength) * (1.0 - kept) + 1.0 / wavelength * kept
}

fn stretch(scaling: RopeScaling, frequency: f32) -> f32 {
    match scaling {
        RopeScaling::None | RopeScaling::Yarn { .. } | RopeScaling::Proportional { .. } => frequency,
        RopeScaling::Linear { factor } => frequency / factor as f32,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let context = f64::from(original_context);
            let wavelength = TAU as f32 / frequency;
            if wavelength > (context / low_freq_factor) as f32 {
                return frequency / factor as f32;
            }
            // Also where both borders are the same, and no ramp is between them.
            if wavelength <= (context / high_freq_factor) as f32 {
                return frequency;
            }
            let ramp = context as f32 / wavelength - low_freq_factor as f32;
            let kept = ramp / (high_freq_factor - low_freq_factor) as f32;
            (1.0 - kept) * frequency / factor as f32 + kept * frequency
        }
    }
}

/// Cosine and sine of `position * frequency`, times a magnitude where the scaling has one, both `[n, r / 2]`.
///
/// The product is taken in f32, its cosine and sine in f64 and stored as f32; a GPU reads the tables because the
/// error of a shader's own `cos` grows with its argument.
pub fn tables(rope: &Rope, positions: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let frequencies = frequencies(rope);
    let angles = positions.iter().flat_map(|&p| frequencies.iter().map(move |&f| f64::from(p as f32 * f)));
    let magnitude = match rope.scaling {
        RopeScaling::Yarn { magnitude, .. } => magnitude as f32,
        _ => 1.0,
    };
    angles.map(|angle| (angle.cos() as f32 * magnitude, angle.sin() as f32 * magnitude)).unzip()
}

/// Rotates the first `r = rotary_dim` elements of every head of `x` `[n, heads, head_dim]` in place; the others stay.
/// `cos` and `sin` are `[n, r / 2]`.
///
/// Each pair `(a, b)` becomes `(a cos - b sin, a sin + b cos)`.
pub fn rotate(rope: &Rope, x: &mut [f32], heads: usize, head_dim: usize, cos: &[f32], sin: &[f32]) {
    let pairs = rope.rotary_dim as usize / 2;
    for (token, x) in x.chunks_exact_mut(heads * head_dim).enumerate() {
        for head in x.chunks_exact_mut(head_dim) {
            for i in 0..pairs {
                let (first, second) = match rope.layout {
                    RopeLayout::HalfSplit => (i, i + pairs),
                    RopeLayout::Interleaved => (2 * i, 2 * i + 1),
                };
                let (a, b) = (f64::from(head[first]), f64::from(head[second]));
                let (cos, sin) = (f64::from(cos[token * pairs + i]), f64::from(sin[token * pairs + i]));
                head[first] = (a * cos - b * sin) as f32;
                head[second] = (a * sin + b * cos) as f32;
            }
        }
    }
}
