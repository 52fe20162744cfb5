//! Sums of a product.

use super::Allowed;
use crate::shapes::Shape;
use crate::support::Result;

/// About as many sums are looked at.
const SUMS: usize = 2000;

/// Each term of Wattle's is as exact as f32. Peers may round inputs to f16 or to 8 bits on the way and stay below; with a
/// wrong index they do not.
pub const ALLOWED: Allowed = Allowed { ours: 2e-5, peers: 2e-3 };

/// The largest error of a sum as a share of the sum of its terms' magnitudes.
pub fn error([rows, outputs, inputs]: Shape, (x, weights): (&[f32], &[f32]), y: &[f32]) -> Result<f64> {
    let [rows, outputs, inputs] = [rows, outputs, inputs].map(|n| n as usize);
    if y.len() != rows * outputs {
        return Err("the result has another size".into());
    }
    // Odd, and no multiple of a tile: every row and column of a tile has its turn.
    let step = (rows * outputs / SUMS) | 1;
    let error = |at: usize| {
        let x = &x[at / outputs * inputs..][..inputs];
        let weights = &weights[at % outputs * inputs..][..inputs];
        let terms = || x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w));
        let sizes: f64 = terms().map(f64::abs).sum();
        (f64::from(y[at]) - terms().sum::<f64>()).abs() / sizes
    };
    // `max` would pass over NaN.
    Ok((0..y.len())
        .step_by(step)
        .map(error)
        .fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst }))
}
