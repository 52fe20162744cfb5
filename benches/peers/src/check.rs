//! Whether a product is right: some of its sums beside the same sums in f64.

use crate::shapes::Shape;
use crate::support::Result;

/// What a side multiplied, and what came out.
pub struct Computed<'a> {
    /// `[rows, inputs]`.
    pub x: &'a [f32],
    /// `[outputs, inputs]`, as the side has them stored.
    pub weights: &'a [f32],
    /// `[rows, outputs]`.
    pub y: &'a [f32],
}

/// About as many sums are looked at.
const SUMS: usize = 2000;

/// The largest error of a sum as a share of the sum of its terms' magnitudes.
pub fn worst_error([rows, outputs, inputs]: Shape, computed: &Computed) -> Result<f64> {
    let [rows, outputs, inputs] = [rows, outputs, inputs].map(|n| n as usize);
    if computed.y.len() != rows * outputs || computed.weights.len() != outputs * inputs {
        return Err("the result has another size".into());
    }
    // Odd, and no multiple of a tile: every row and column of a tile has its turn.
    let step = (rows * outputs / SUMS) | 1;
    let error = |at: usize| {
        let x = &computed.x[at / outputs * inputs..][..inputs];
        let weights = &computed.weights[at % outputs * inputs..][..inputs];
        let terms = || x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w));
        let sizes: f64 = terms().map(f64::abs).sum();
        (f64::from(computed.y[at]) - terms().sum::<f64>()).abs() / sizes
    };
    // `max` would pass over NaN.
    Ok((0..computed.y.len())
        .step_by(step)
        .map(error)
        .fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst }))
}

/// Root of the mean square of the difference, as a share of that of the original.
pub fn rounding(original: &[f32], stored: &[f32]) -> f64 {
    let square =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
    let difference = square(&mut original.iter().zip(stored).map(|(a, b)| a - b));
    (difference / square(&mut original.iter().copied())).sqrt()
}

/// The error allowed of Wattle's sums, of which each term is as exact as f32.
pub const OUR_ERROR: f64 = 2e-5;

/// The error allowed of a peer's. Inputs rounded to f16 or to 8 bits on the way stay below; a wrong index does not.
pub const PEER_ERROR: f64 = 2e-3;

/// The rounding allowed of weights that are stored in a format.
pub fn allowed_rounding(format: &str) -> f64 {
    match format {
        "f32" => 0.0,
        "f16" => 1e-3,
        "int8" => 0.02,
        "int4" => 0.2,
        _ => 0.7,
    }
}
