//! Wattle's side of a row.

use std::time::Duration;

use wattle::Gpu;
use wattle::quant::WeightFormat;

use crate::check::{Computed, OUR_ERROR, worst_error};
use crate::shapes::Shape;
use crate::support::Result;
use crate::support::products::{Product, Products, matmul, matvec};

/// A product in the kernel that is faster for it.
pub struct Ours {
    pub products: Products,
    pub kernel: &'static str,
    /// `[outputs, inputs]`, as the kernel sees them.
    pub weights: Vec<f32>,
}

/// With more rows `matvec` is never the faster one.
const MOST_MATVEC_ROWS: u32 = 16;

impl Ours {
    /// Uploads, checks the result, and keeps the faster of the kernels there are for so many rows.
    pub fn prepare(gpu: &Gpu, format: WeightFormat, shape: Shape, copies: u32) -> Result<Self> {
        let kernels: &[(&str, Product)] = match shape[0] {
            1 => &[("matvec", matvec)],
            2..=MOST_MATVEC_ROWS => &[("matvec", matvec), ("matmul", matmul)],
            _ => &[("matmul", matmul)],
        };
        let mut best: Option<(Duration, Self)> = None;
        for (kernel, product) in kernels {
            let mut products = Products::new(gpu, *product, format, shape, copies)?;
            let weights = products.weights.unpack();
            products.chain.run(1)?;
            let y = gpu.block_on(products.y.read::<f32>(gpu, 0, shape[0] as usize * shape[1] as usize))?;
            let error = worst_error(shape, &Computed { x: &products.x, weights: &weights, y: &y })?;
            let right = error <= OUR_ERROR;
            if !right {
                return Err(format!("Wattle's {kernel} is wrong by {error:.1e}").into());
            }
            let time = products.chain.run(1)?.wall.min(products.chain.run(1)?.wall);
            if best.as_ref().is_none_or(|(least, _)| time < *least) {
                best = Some((time, Self { products, kernel, weights }));
            }
        }
        best.map(|(_, ours)| ours).ok_or_else(|| "no kernel".into())
    }

    /// Everything `times` times.
    pub fn run(&mut self, times: u64) -> Result<Duration> {
        Ok(self.products.chain.run(times)?.wall)
    }
}
