//! Products with a weight matrix.

/// `y[t, o] = sum_i x[t, i] * weight[o, i] (+ bias[o])`, with `x` `[n, d]`, `weight` `[out, d]`, `bias` `[out]`,
/// `y` `[n, out]`.
pub fn matmul(x: &[f32], weight: &[f32], bias: Option<&[f32]>, d: usize) -> Vec<f32> {
    let out = weight.len() / d;
    let mut y = Vec::with_capacity(x.len() / d * out);
    for x in x.chunks_exact(d) {
        for (o, weight) in weight.chunks_exact(d).enumerate() {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[o]));
            y.push((dot(x, weight) + bias) as f32);
        }
    }
    y
}

/// `sum_i a[i] * b[i]` in f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
