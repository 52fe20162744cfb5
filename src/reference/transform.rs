//! Inputs of a product whose weights are stored for transformed inputs.

/// `(x - delta) / s` of each row of `x` `[n, K]`, with `delta` and `s` `[K]`: with it `x W + b` is
/// `((x - delta) / s) (s W) + (b + delta W)`, whose weights are easier to quantize (OmniQuant's equivalent
/// transformation, arXiv 2308.13137, section 3.3).
pub fn transform(x: &[f32], delta: &[f32], s: &[f32]) -> Vec<f32> {
    let row = |x: &[f32]| -> Vec<f32> {
        let inputs = x.iter().zip(delta).zip(s);
        inputs.map(|((x, delta), s)| ((f64::from(*x) - f64::from(*delta)) / f64::from(*s)) as f32).collect()
    };
    x.chunks_exact(s.len()).flat_map(row).collect()
}
