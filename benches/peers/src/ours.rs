//! Wattle's side of a row.

use std::time::Duration;

use wattle::Gpu;
use wattle::quant::WeightFormat;
use wattle::tuning::{ProductKernel, ProductPath};

use crate::check::{Computed, OUR_ERROR, worst_error};
use crate::shapes::Shape;
use crate::support::Result;
use crate::support::products::{Products, tuned};

/// A product by the kernel that the shipped table gives it.
pub struct Ours {
    pub products: Products,
    pub kernel: &'static str,
    /// `[outputs, inputs]`, as the kernel sees them.
    pub weights: Vec<f32>,
}

impl Ours {
    /// Uploads, and checks the result.
    pub fn prepare(gpu: &Gpu, format: WeightFormat, shape: Shape, copies: u32) -> Result<Self> {
        let kernel = tuned(gpu, format, shape, ProductPath::Matrix);
        let mut products = Products::new(gpu, kernel, format, shape, (copies, copies))?;
        let weights = products.weights.unpack();
        products.chain.run(1)?;
        let y = gpu.block_on(products.y.read::<f32>(gpu, 0, shape[0] as usize * shape[1] as usize))?;
        let error = worst_error(shape, &Computed { x: &products.x, weights: &weights, y: &y })?;
        let kernel = match kernel {
            ProductKernel::Matvec(_) | ProductKernel::MatvecI8(_) => "matvec",
            ProductKernel::Matmul {} | ProductKernel::MatmulI8 {} => "matmul",
            ProductKernel::MatmulCoop {} => "matmul_coop",
        };
        match error <= OUR_ERROR {
            true => Ok(Self { products, kernel, weights }),
            false => Err(format!("Wattle's {kernel} is wrong by {error:.1e}").into()),
        }
    }

    /// Everything `times` times.
    pub fn run(&mut self, times: u64) -> Result<Duration> {
        Ok(self.products.chain.run(times)?.wall)
    }
}
