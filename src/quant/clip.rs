//! Learnable clipping: codes that leave a block's outliers out.

/// How far the codes of a block reach: from `beta` times its least weight to `gamma` times its largest, which training
/// has found to cost least (OmniQuant's learnable weight clipping, arXiv 2308.13137, section 3.2). Weights beyond are
/// cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Of the largest weight.
    pub gamma: f32,
    /// Of the least weight.
    pub beta: f32,
}

impl Clip {
    /// Codes reach over all weights.
    pub const NONE: Self = Self { gamma: 1.0, beta: 1.0 };

    /// The ends of the codes over a block whose weights lie between `min` and `max`, in f64, where nothing is lost.
    pub(super) fn ends(self, min: f32, max: f32) -> [f64; 2] {
        [f64::from(self.beta) * f64::from(min), f64::from(self.gamma) * f64::from(max)]
    }
}
