//! A product by the kernel that the shipped table gives it.

use wattle::Gpu;
use wattle::quant::WeightFormat;
use wattle::tuning::{ProductKernel, ProductPath};

use super::Ours;
use crate::check::{Found, Numbers, Task};
use crate::shapes::Shape;
use crate::support::Result;
use crate::support::products::{Products, tuned};

/// Uploads, and checks the result.
pub fn prepare(gpu: &Gpu, format: WeightFormat, shape: Shape, copies: u32) -> Result<Ours> {
    let kernel = tuned(gpu, format, shape, ProductPath::Matrix);
    let mut products = Products::new(gpu, kernel, format, shape, (copies, copies))?;
    products.chain.run(1)?;
    let y = gpu.block_on(products.y.read::<f32>(gpu, 0, shape[0] as usize * shape[1] as usize))?;
    let weights = products.weights.unpack();
    let kernel = match kernel {
        ProductKernel::Matvec(_) | ProductKernel::MatvecI8(_) => "matvec",
        ProductKernel::Matmul {} | ProductKernel::MatmulI8 {} => "matmul",
        ProductKernel::MatmulCoop {} => "matmul_coop",
    };
    let numbers = Numbers { task: Task::Product(shape), x: products.x, weights };
    Ours::checked(vec![products.chain], kernel, numbers, &Found { y, routes: Vec::new() })
}
