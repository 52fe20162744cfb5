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
        stretch(rope.scaling, 1.0 / wavelength)
    };
    (0..rope.rotary_dim / 2).map(pair).collect()
}

fn stretch(scaling: RopeScaling, frequency: f32) -> f32 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor as f32,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let context = f64::from(original_context);
            let wavelength = TAU as f32 / frequency;
            if wavelength > (context / low_freq_factor) as f32 {
                return frequency / factor as f32;
            }
            if wavelength < (context / high_freq_factor) as f32 {
                return frequency;
            }
            let ramp = context as f32 / wavelength - low_freq_factor as f32;
            let kept = ramp / (high_freq_factor - low_freq_factor) as f32;
            (1.0 - kept) * frequency / factor as f32 + kept * frequency
        }
    }
}

/// Cosine and sine of `position * frequency`, both `[n, r / 2]`.
///
/// The product is taken in f32, its cosine and sine in f64 and stored as f32; a GPU reads the tables because the
/// error of a shader's own `cos` grows with its argument.
pub fn tables(rope: &Rope, positions: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let frequencies = frequencies(rope);
    let angles = positions.iter().flat_map(|&p| frequencies.iter().map(move |&f| f64::from(p as f32 * f)));
    angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip()
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
