//! Rows of a layer of experts.

use super::Allowed;
use crate::layer::Layer;
use crate::routes::{Routes, product};
use crate::support::Result;

/// About as many tokens are looked at, each with its whole output.
const TOKENS: usize = 8;

/// Three roundings to f16, as cooperative matrices ask for, stay below the first, and three to 8 bits below the second. Half
/// of a layer left out, or one expert for another, does not.
pub const ALLOWED: Allowed = Allowed { ours: 3e-3, peers: 3e-2 };

/// Root of the mean square of the error, as a share of that of the result; the largest of some tokens.
pub fn error(layer: Layer, routes: &Routes, (x, weights): (&[f32], &[f32]), y: &[f32]) -> Result<f64> {
    let (width, tokens) = (layer.width as usize, layer.tokens as usize);
    if y.len() != tokens * width {
        return Err("the result has another size".into());
    }
    let error = |token: usize| {
        let expected = output(layer, routes, (&x[token * width..][..width], weights), token);
        let found = &y[token * width..][..width];
        let wrong: f64 = expected.iter().zip(found).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum();
        (wrong / expected.iter().map(|value| value.powi(2)).sum::<f64>()).sqrt()
    };
    let checked = (0..tokens).step_by((tokens / TOKENS) | 1);
    // `max` would pass over NaN.
    Ok(checked.map(error).fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst }))
}

/// What a token becomes.
fn output(layer: Layer, routes: &Routes, (x, weights): (&[f32], &[f32]), token: usize) -> Vec<f64> {
    let (width, hidden, choices) = (layer.width as usize, layer.hidden as usize, layer.choices as usize);
    let stacks: Vec<&[f32]> = weights.chunks(layer.experts as usize * layer.matrix()).collect();
    let mut y = vec![0.0; width];
    let mut total = 0.0;
    for expert in routes.experts[token * choices..][..choices].iter().map(|expert| *expert as usize) {
        let matrix = |stack: usize| &stacks[stack][expert * layer.matrix()..][..layer.matrix()];
        // Softmax over all, then over its sum: what the others had in it cancels.
        let share = product(x, &routes.router[expert * width..][..width]).exp();
        total += share;
        let branches = matrix(0).chunks(width).zip(matrix(1).chunks(width));
        let inner = branches.map(|(gate, up)| {
            let gate = product(x, gate);
            gate / (1.0 + (-gate).exp()) * product(x, up)
        });
        let inner: Vec<f64> = inner.collect();
        for (sum, down) in y.iter_mut().zip(matrix(2).chunks(hidden)) {
            *sum += share * inner.iter().zip(down).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
        }
    }
    y.iter().map(|sum| sum / total).collect()
}
