//! What is measured: products, and the kernels that might compute them.

use wattle::Gpu;
use wattle::kernels::matvec::VecTile;
use wattle::quant::WeightFormat;
use wattle::tuning::{ProductKernel, ProductPath};
use wattle::wgpu::DeviceType;

/// Rows of the input, outputs, inputs.
pub type Shape = [u32; 3];

/// Rows that a rule is written for: up to so many, the last for all above, too.
pub const ROWS: [u32; 4] = [1, 4, 16, 128];

/// Formats by the bits of a weight, the fewest first: rules are written for up to so many bits.
pub const FORMATS: [(&str, u32); 4] = [("int2", 2), ("int4", 5), ("int8", 9), ("f32", 32)];

/// Outputs and inputs: wide, square and deep, larger than what a cache of the device holds.
pub fn matrices(gpu: &Gpu) -> [[u32; 2]; 3] {
    match gpu.info().device_type {
        DeviceType::Cpu => [[2048, 512], [1024, 1024], [512, 2048]],
        _ => [[14_336, 4096], [4096, 4096], [4096, 14_336]],
    }
}

/// Every kernel with every tile that a product of so many rows may have on a path.
pub fn kernels(gpu: &Gpu, rows: u32, format: WeightFormat, path: ProductPath) -> Vec<ProductKernel> {
    let in_i8 = path == ProductPath::Integer;
    let mut kernels = Vec::new();
    let block_rows: &[u32] = match rows {
        1 => &[1],
        2..=4 => &[1, 4],
        _ => &[4, 8],
    };
    for &rows in block_rows {
        for outputs in [4, 8] {
            for lanes in [32, 64, 128, 256] {
                for team in [1, lanes] {
                    let tile = VecTile { lanes, team, outputs, rows };
                    kernels.push(match in_i8 {
                        true => ProductKernel::MatvecI8(tile),
                        false => ProductKernel::Matvec(tile),
                    });
                }
            }
        }
    }
    if rows > 1 && in_i8 {
        kernels.push(ProductKernel::MatmulI8 {});
    } else if rows > 1 {
        kernels.push(ProductKernel::Matmul {});
        if gpu.capabilities().has_matrices() && format != WeightFormat::F32 {
            kernels.push(ProductKernel::MatmulCoop {});
        }
    }
    kernels
}
