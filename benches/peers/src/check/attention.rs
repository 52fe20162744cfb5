//! Rows of attention.

use super::Allowed;
use crate::heads::Shape;
use crate::routes::product;
use crate::support::Result;

/// About as many queries of a head are looked at.
const QUERIES: usize = 60;

/// Queries, keys, values and weights rounded to f16 stay below the first, to 8 bits below the second. A key too many or too few
/// at the end of a window does not: of hundreds, each has its share of a result that is their mean.
pub const ALLOWED: Allowed = Allowed { ours: 3e-3, peers: 3e-2 };

/// Root of the mean square of the error, as a share of that of the result; the largest of some queries.
pub fn error(shape: Shape, (x, kv): (&[f32], &[f32]), y: &[f32]) -> Result<f64> {
    let width = shape.width as usize;
    if y.len() != x.len() {
        return Err("the result has another size".into());
    }
    // Odd, so that all heads and rows of a tile have their turn.
    let queries = x.len() / width;
    let checked = (0..queries).step_by((queries / QUERIES) | 1);
    let error = |query: usize| {
        let at = query * width..(query + 1) * width;
        let expected = output(shape, (&x[at.clone()], kv), query);
        let wrong: f64 = expected.iter().zip(&y[at]).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum();
        (wrong / expected.iter().map(|value| value.powi(2)).sum::<f64>()).sqrt()
    };
    // `max` would pass over NaN.
    Ok(checked.map(error).fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst }))
}

/// What a query finds; queries are counted by sequences, rows, heads.
fn output(shape: Shape, (q, kv): (&[f32], &[f32]), query: usize) -> Vec<f64> {
    let [rows, heads, kv_heads, width] =
        [shape.rows, shape.heads, shape.kv_heads, shape.width].map(|n| n as usize);
    let (row, kv_head) = (query / heads % rows, query % heads / (heads / kv_heads));
    let (keys, values) = kv.split_at(kv.len() / 2);
    let mut y = vec![0.0; width];
    let mut total = 0.0;
    for token in (0..shape.tokens).filter(|token| shape.sees(row as u32, *token)) {
        let at = (token as usize * kv_heads + kv_head) * width;
        let weight = (product(q, &keys[at..][..width]) / (width as f64).sqrt()).exp();
        total += weight;
        let values = &values[at..][..width];
        y.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(*value));
    }
    y.iter().map(|sum| sum / total).collect()
}
