//! Alternating updates of several residual streams (AltUp, arXiv 2301.13310, as Gemma 3n has them).

use super::matmul::matmul;

/// How the streams of a token mix.
#[derive(Clone, Copy, Debug)]
pub struct Mixing<'a> {
    /// Streams, `A`.
    pub count: usize,
    /// The one that sub-layers work on.
    pub active: usize,
    /// `[A, d]`.
    pub router: &'a [f32],
    /// `[A A, A]`.
    pub prediction: &'a [f32],
    /// `[A, A]`.
    pub correction: &'a [f32],
}

impl Mixing<'_> {
    /// `tanh(R x)`, `[n, A]`, of normed rows `[n, d]`.
    fn routes(&self, normed: &[f32], d: usize) -> Vec<f32> {
        matmul(normed, self.router, None, d).into_iter().map(|x| f64::from(x).tanh() as f32).collect()
    }

    /// `y[j] = s[j] + sum_i c[j A + i] s[i]` with `c = C tanh(R x)`: streams `[n, A, d]`, and normed rows of the active one `[n, d]`.
    pub fn predict(&self, streams: &[f32], normed: &[f32]) -> Vec<f32> {
        let (count, d) = (self.count, self.router.len() / self.count);
        let coefficients = matmul(&self.routes(normed, d), self.prediction, None, count);
        let mut y = Vec::with_capacity(streams.len());
        for (s, c) in streams.chunks_exact(count * d).zip(coefficients.chunks_exact(count * count)) {
            for j in 0..count {
                for k in 0..d {
                    let of = |i: usize| f64::from(c[j * count + i]) * f64::from(s[i * d + k]);
                    y.push((f64::from(s[j * d + k]) + (0..count).map(of).sum::<f64>()) as f32);
                }
            }
        }
        y
    }

    /// `y[j] = s[j] + (1 + c[j]) (x - s[active])` with `c = D tanh(R norm(x))`: predictions `[n, A, d]`, what a layer has made of the
    /// active one and the same normed, `[n, d]`.
    pub fn correct(&self, streams: &[f32], activated: &[f32], normed: &[f32]) -> Vec<f32> {
        let (count, d) = (self.count, self.router.len() / self.count);
        let coefficients = matmul(&self.routes(normed, d), self.correction, None, count);
        let mut y = Vec::with_capacity(streams.len());
        for (n, s) in streams.chunks_exact(count * d).enumerate() {
            for j in 0..count {
                for k in 0..d {
                    let innovation = f64::from(activated[n * d + k]) - f64::from(s[self.active * d + k]);
                    let c = 1.0 + f64::from(coefficients[n * count + j]);
                    y.push((f64::from(s[j * d + k]) + c * innovation) as f32);
                }
            }
        }
        y
    }
}

/// One of `count` streams: `[n, A, d]` to `[n, d]`.
pub fn take(streams: &[f32], count: usize, d: usize, stream: usize) -> Vec<f32> {
    streams.chunks_exact(count * d).flat_map(|row| &row[stream * d..(stream + 1) * d]).copied().collect()
}

/// `x` and projections of it or of others, `[n, d]` each, made as large: `p rms(x) / rms(p)`, where the mean square of `p` counts as no
/// less than `least_square`. `[n, A, d]`.
pub fn matched(x: &[f32], projections: &[Vec<f32>], d: usize, least_square: f32) -> Vec<f32> {
    let mean_square = |row: &[f32]| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / d as f64;
    let mut y = Vec::with_capacity(x.len() * (projections.len() + 1));
    for (n, x) in x.chunks_exact(d).enumerate() {
        y.extend_from_slice(x);
        for projection in projections {
            let row = &projection[n * d..(n + 1) * d];
            let factor = (mean_square(x) / mean_square(row).max(f64::from(least_square))).sqrt();
            y.extend(row.iter().map(|&v| (f64::from(v) * factor) as f32));
        }
    }
    y
}

/// The mean of `count` streams: `[n, A, d]` to `[n, d]`.
pub fn mean(streams: &[f32], count: usize, d: usize) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let sum = |k: usize| (0..count).map(|i| f64::from(row[i * d + k])).sum::<f64>();
        (0..d).map(|k| (sum(k) / count as f64) as f32).collect()
    };
    streams.chunks_exact(count * d).flat_map(row).collect()
}
