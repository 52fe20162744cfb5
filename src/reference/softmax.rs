//! Softmax and soft capping.

/// `y = exp(x - max) / sum(exp(x - max))` over one row. Entries of minus infinity get 0, NaN counts as minus
/// infinity, and a row of nothing else is all zeros.
pub fn softmax(x: &[f32]) -> Vec<f32> {
    softmax_f64(x.iter().map(|&x| f64::from(x)).collect()).iter().map(|&y| y as f32).collect()
}

/// [`softmax`] without rounding the result.
pub(super) fn softmax_f64(mut x: Vec<f64>) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for x in &mut x {
        // Also false for NaN, and when the maximum itself is minus infinity.
        *x = if *x > f64::NEG_INFINITY { (*x - max).exp() } else { 0.0 };
    }
    let sum: f64 = x.iter().sum();
    if sum > 0.0 {
        x.iter_mut().for_each(|x| *x /= sum);
    }
    x
}

/// `cap * tanh(z / cap)` (Gemma 2, arXiv 2408.00118); no cap leaves `z` as it is.
pub fn softcap(cap: Option<f32>, z: f32) -> f32 {
    softcap_f64(cap, f64::from(z)) as f32
}

/// [`softcap`] without rounding the result.
pub(super) fn softcap_f64(cap: Option<f32>, z: f64) -> f64 {
    match cap.map(f64::from) {
        Some(cap) => cap * (z / cap).tanh(),
        None => z,
    }
}
