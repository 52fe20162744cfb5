//! Gates of which only the largest take part.

use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};

/// The quantile of a normal distribution, in standard deviations above its mean: below it is the share `share`, above 0 and below 1.
pub fn normal_quantile(share: f64) -> f64 {
    // Newton's steps on the error function. Where the distribution is flat a step would leave it, so it is halved into an interval.
    let below = |z: f64| 0.5 * libm::erfc(-z / SQRT_2);
    let density = |z: f64| 0.5 * FRAC_2_SQRT_PI / SQRT_2 * (-0.5 * z * z).exp();
    let (mut low, mut high) = (-40.0, 40.0);
    let mut z = 0.0;
    for _ in 0..200 {
        let error = below(z) - share;
        if error > 0.0 {
            high = z
        } else {
            low = z
        }
        let next = z - error / density(z);
        let next = if next > low && next < high { next } else { 0.5 * (low + high) };
        if (next - z).abs() <= 1e-15 * z.abs().max(1.0) {
            return next;
        }
        z = next;
    }
    z
}

/// `max(x - cutoff, 0)` with `cutoff = mean(x) + deviations std(x)` over each row of `[n, f]`: of numbers that are normally distributed,
/// those above a [quantile](normal_quantile) (Gemma 3n, after arXiv 2506.06644).
pub fn sparse_gate(x: &[f32], f: usize, deviations: f32) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / f as f64;
        let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / f as f64;
        let cutoff = mean + f64::from(deviations) * variance.sqrt();
        row.iter().map(|&v| (f64::from(v) - cutoff).max(0.0) as f32).collect()
    };
    x.chunks_exact(f).flat_map(row).collect()
}
