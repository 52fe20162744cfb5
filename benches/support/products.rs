//! The two products with a weight matrix, plain (no norm, bias or activation), on random numbers.

use std::collections::HashMap;
use std::sync::Arc;

use wattle::fragments::{Codec, MatrixSize, Reduce};
use wattle::kernel::{AnyLaunch, Launch};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::Matmul;
use wattle::kernels::matmul_coop::MatmulCoop;
use wattle::kernels::matvec::Matvec;
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference;
use wattle::tuning::{ProductKernel, ProductShape, Tuning};
use wattle::{Gpu, Tensor};

use super::Result;
use super::chain::{Chain, Link};

/// A product with weights in a format by some kernel.
pub fn product(
    gpu: &Gpu,
    format: WeightFormat,
    params: LinearParams,
    kernel: ProductKernel,
) -> Arc<dyn AnyLaunch> {
    let codec = Codec::of(format, gpu.capabilities());
    let plain = Matmul::new(codec, params.in_features);
    match kernel {
        ProductKernel::Matvec(tile) => {
            let reduce = Reduce::of(gpu.capabilities());
            let variant = Matvec { reduce, tile, ..Matvec::new(codec, params.in_features) };
            Launch { variant, params }.shared()
        }
        ProductKernel::Matmul {} => Launch { variant: plain, params }.shared(),
        ProductKernel::MatmulCoop {} => match MatrixSize::of(gpu.capabilities()) {
            Some(size) => Launch { variant: MatmulCoop { product: plain, size }, params }.shared(),
            None => Launch { variant: plain, params }.shared(),
        },
    }
}

/// The kernel that the shipped table gives a product.
pub fn tuned(gpu: &Gpu, format: WeightFormat, [rows, _, inputs]: [u32; 3]) -> ProductKernel {
    let bits = Codec::of(format, gpu.capabilities()).read_bits();
    let matrices = gpu.capabilities().has_matrices();
    Tuning::shipped(gpu.capabilities()).kernel(ProductShape { rows, inputs, bits, matrices })
}

/// Products in a row, with what they multiply.
pub struct Products {
    pub chain: Chain,
    /// `[rows, inputs]`.
    pub x: Vec<f32>,
    /// `[outputs, inputs]`.
    pub weights: PackedMatrix,
    /// `[rows, outputs]`.
    pub y: Tensor,
}

impl Products {
    /// `copies` times the product of `[rows, inputs]` with `[outputs, inputs]`, every time with the same weights in
    /// other memory.
    pub fn new(
        gpu: &Gpu,
        kernel: ProductKernel,
        format: WeightFormat,
        [rows, outputs, inputs]: [u32; 3],
        copies: u32,
    ) -> Result<Self> {
        let upload = |name: &str, words: &[u32]| gpu.block_on(Tensor::upload(gpu, name, words));
        let weights = PackedMatrix::random(format, 0..outputs as usize, inputs as usize, 1);
        let x = PackedMatrix::random(WeightFormat::F32, 0..rows as usize, inputs as usize, 2).unpack();
        let y = gpu.block_on(Tensor::zeroed(gpu, "y", u64::from(rows) * u64::from(outputs) * 4))?;
        let mut tensors = HashMap::from([("y".to_owned(), y.clone())]);
        tensors.insert("x".into(), gpu.block_on(Tensor::upload(gpu, "x", &x))?);
        let launch = product(gpu, format, LinearParams::dense(format, outputs, inputs), kernel);
        let mut links = Vec::<Link>::new();
        for n in 0..copies {
            let mut ends = vec![("x", "x".into()), ("y", "y".into()), ("words", format!("words {n}"))];
            tensors.insert(format!("words {n}"), upload("words", &weights.words)?);
            if !weights.scales.is_empty() {
                let scales = upload("scales", &weights.scales)?;
                tensors.insert(format!("scales {n}"), scales);
                ends.push(("scales", format!("scales {n}")));
            }
            links.push((launch.clone(), ends));
            // Lets the queue free its staging memory before the next copy.
            gpu.queue().submit([]);
        }
        Ok(Self { chain: Chain::new(gpu, &links, &tensors, rows, rows)?, x, weights, y })
    }
}

/// Compares a product of odd sizes with the reference: every sum within the rounding of its terms, and of both factors
/// where they are rounded to f16.
pub fn check(gpu: &Gpu, kernel: ProductKernel, format: WeightFormat) -> Result<()> {
    const INPUTS: usize = 130;
    let mut products = Products::new(gpu, kernel, format, [5, 67, INPUTS as u32], 1)?;
    products.chain.run(1)?;
    let (x, matrix) = (&products.x, &products.weights);
    let magnitudes = |values: &[f32]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
    let product = |x: &[f32], weights: &[f32]| reference::matmul::matmul(x, weights, None, INPUTS);
    let expected = product(x, &matrix.unpack());
    // Codes and zero points may be multiplied apart.
    let parts = matrix.unpack().into_iter().enumerate().map(|(at, weight)| {
        let zero =
            matrix.scale_zero(at / INPUTS, at % INPUTS).map_or(0.0, |[scale, zero]| (scale * zero).abs());
        weight.abs() + 2.0 * zero
    });
    let terms = product(&magnitudes(x), &parts.collect::<Vec<_>>());
    let factors = if kernel == (ProductKernel::MatmulCoop {}) { 2f32.powi(-9) + 2f32.powi(-20) } else { 0.0 };
    let found = gpu.block_on(products.y.read::<f32>(gpu, 0, expected.len()))?;
    for (at, (found, (expected, terms))) in found.iter().zip(expected.iter().zip(&terms)).enumerate() {
        let allowed = (INPUTS as f32 * f32::EPSILON + factors) * terms;
        let close = (found - expected).abs() <= allowed;
        if !close {
            let expected = format!("expected {expected} ±{allowed}, found {found}");
            return Err(format!("{format}, output {at}: {expected}").into());
        }
    }
    Ok(())
}
