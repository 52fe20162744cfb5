//! Norms over the last axis.

use crate::model::config::{Norm, NormKind};

/// Normalizes each row of `x` `[n, d]`; `weight` and `bias` are `[d]`, which is where `d` comes from.
///
/// * RMS norm (arXiv 1910.07467): `y = x / sqrt(mean(x^2) + eps) * w`
/// * the same with `1 + w` for `w` (Gemma, arXiv 2403.08295)
/// * RMS norm without a weight, for which `weight` is all ones
/// * layer norm (arXiv 1607.06450): `y = (x - mean(x)) / sqrt(var(x) + eps) * w (+ b)`, with the biased variance,
///   taken in a second pass over the row
///
/// `bias` is used by [`NormKind::LayerNormBias`] alone.
pub fn norm(norm: Norm, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let d = weight.len();
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(d) {
        let center = match norm.kind {
            NormKind::Rms | NormKind::RmsUnitOffset | NormKind::RmsUnweighted => 0.0,
            NormKind::LayerNorm | NormKind::LayerNormBias => mean(row.iter().map(|&v| f64::from(v))),
        };
        let spread = mean(row.iter().map(|&v| (f64::from(v) - center).powi(2)));
        let rsqrt = (spread + f64::from(norm.eps)).sqrt().recip();
        for i in 0..d {
            let weight = f64::from(weight[i]);
            let scale = if norm.kind == NormKind::RmsUnitOffset { 1.0 + weight } else { weight };
            let shift = match (norm.kind, bias) {
                (NormKind::LayerNormBias, Some(bias)) => f64::from(bias[i]),
                _ => 0.0,
            };
            y.push(((f64::from(row[i]) - center) * rsqrt * scale + shift) as f32);
        }
    }
    y
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
