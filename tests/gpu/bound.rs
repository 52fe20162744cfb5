//! How far an f32 computation may be from the exact result.

/// Half the distance from 1 to the next f32: the relative error of one rounding.
pub const EPS: f32 = f32::EPSILON / 2.0;

/// Roundings that a sum of products of so many terms behaves like, in any order: its error is within
/// `EPS * roundings * sum |a b|`.
///
/// In the worst case they are as many as the terms, but independent roundings grow with the square root (Higham and
/// Mary, SIAM J. Sci. Comput. 41(5), 2019). A few more are for the product, a bias, the store and an expected value
/// that was itself rounded.
pub fn roundings(terms: usize) -> f32 {
    4.0 + (terms as f32).sqrt()
}

/// Error of `exp(x)` in units of `EPS`, relative: Vulkan allows `3 + 2 |x|` units in the last place.
pub fn exp_roundings(x: f32) -> f32 {
    2.0 * (3.0 + 2.0 * x.abs())
}

/// The magnitudes of all elements.
pub fn abs(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.abs()).collect()
}

/// `c * EPS * magnitude`, elementwise.
pub fn scaled(c: f32, magnitudes: &[f32]) -> Vec<f32> {
    magnitudes.iter().map(|m| c * EPS * m).collect()
}
