//! The two products with a weight matrix, plain (no norm, bias or activation), on random numbers.

use std::collections::HashMap;
use std::sync::Arc;

use wattle::fragments::{Codec, InputNorm, InputRows, MatrixSize, Reduce};
use wattle::kernel::{AnyLaunch, Launch, Span};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::Matmul;
use wattle::kernels::matmul_coop::MatmulCoop;
use wattle::kernels::matvec::Matvec;
use wattle::kernels::quantize::{Quantize, QuantizeParams};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference;
use wattle::tuning::{ProductKernel, ProductPath, ProductShape, Tuning};
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
    let inputs = kernel.inputs(params.in_features);
    let plain = Matmul { inputs, ..Matmul::new(codec, params.in_features) };
    match kernel {
        ProductKernel::Matvec(tile) | ProductKernel::MatvecI8(tile) => {
            let reduce = Reduce::of(gpu.capabilities());
            let variant = Matvec { inputs, reduce, tile, ..Matvec::new(codec, params.in_features) };
            Launch { variant, params }.shared()
        }
        ProductKernel::Matmul {} | ProductKernel::MatmulI8 {} => Launch { variant: plain, params }.shared(),
        ProductKernel::MatmulCoop {} => match MatrixSize::of(gpu.capabilities()) {
            Some(size) => Launch { variant: MatmulCoop { product: plain, size }, params }.shared(),
            None => Launch { variant: plain, params }.shared(),
        },
    }
}

/// What turns inputs into codes.
fn quantize(gpu: &Gpu, in_features: u32) -> Arc<dyn AnyLaunch> {
    let reduce = Reduce::of(gpu.capabilities());
    let inputs = InputRows::of(in_features);
    let variant = Quantize { inputs, norm: InputNorm::None, last: false, chosen: false, reduce };
    let params = QuantizeParams::new(in_features, 1, 0.0);
    Launch { variant, params }.shared()
}

/// The kernel that the shipped table gives a product on a path.
pub fn tuned(
    gpu: &Gpu,
    format: WeightFormat,
    [rows, _, inputs]: [u32; 3],
    path: ProductPath,
) -> ProductKernel {
    let bits = Codec::of(format, gpu.capabilities()).read_bits();
    let matrices = gpu.capabilities().has_matrices();
    Tuning::shipped(gpu.capabilities()).kernel(ProductShape { rows, inputs, bits, matrices, path })
}

/// Outputs that products of a run go round: so many that none waits for another, and not so many as fill a memory.
const MOST_OUTPUTS: u32 = 64;

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
    /// `times` times the product of `[rows, inputs]` with `[outputs, inputs]`, with outputs that go round, so that
    /// none waits for another, and going round `copies` of the same weights in other memory. On the integer path every one has
    /// its inputs turned into codes.
    pub fn new(
        gpu: &Gpu,
        kernel: ProductKernel,
        format: WeightFormat,
        [rows, outputs, inputs]: [u32; 3],
        (times, copies): (u32, u32),
    ) -> Result<Self> {
        let upload = |name: &str, words: &[u32]| gpu.block_on(Tensor::upload(gpu, name, words));
        let weights = PackedMatrix::random(format, 0..outputs as usize, inputs as usize, 1);
        let x = PackedMatrix::random(WeightFormat::F32, 0..rows as usize, inputs as usize, 2).unpack();
        let zeroed = |name: &str, bytes: u64| gpu.block_on(Tensor::zeroed(gpu, name, bytes));
        let mut tensors = HashMap::from([("x".to_owned(), gpu.block_on(Tensor::upload(gpu, "x", &x))?)]);
        for n in 0..copies {
            tensors.insert(format!("words {n}"), upload("words", &weights.words)?);
            if !weights.scales.is_empty() {
                tensors.insert(format!("scales {n}"), upload("scales", &weights.scales)?);
            }
            // Lets the queue free its staging memory before the next copy.
            gpu.queue().submit([]);
        }
        let launch = product(gpu, format, LinearParams::dense(format, outputs, inputs), kernel);
        let in_i8 = kernel.inputs(inputs) == InputRows::I8;
        let codes = quantize(gpu, inputs);
        let code_bytes =
            codes.sizes(rows).into_iter().find(|(name, _)| *name == "y").map_or(0, |(_, bytes)| bytes);
        for n in 0..times.min(MOST_OUTPUTS) {
            tensors.insert(format!("y {n}"), zeroed("y", u64::from(rows) * u64::from(outputs) * 4)?);
            if in_i8 {
                tensors.insert(format!("codes {n}"), zeroed("codes", code_bytes)?);
            }
        }
        let mut links = Vec::<Link>::new();
        for turn in 0..times {
            let (n, copy) = (turn % MOST_OUTPUTS, turn % copies);
            let x = if in_i8 { format!("codes {n}") } else { "x".to_owned() };
            if in_i8 {
                links.push((codes.clone(), vec![("x", "x".into()), ("y", x.clone())]));
            }
            let mut ends = vec![("x", x), ("y", format!("y {n}")), ("words", format!("words {copy}"))];
            if !weights.scales.is_empty() {
                ends.push(("scales", format!("scales {copy}")));
            }
            links.push((launch.clone(), ends));
        }
        let y = tensors.get("y 0").cloned().ok_or("no product")?;
        let span = Span::of_rows(rows);
        Ok(Self { chain: Chain::new(gpu, &links, &tensors, &[span], &[span.into()])?, x, weights, y })
    }
}

/// A row as its codes stand for it.
fn quantized(row: &[f32]) -> Vec<f32> {
    reference::quantize::quantize(row).iter().flat_map(|block| block.values().collect::<Vec<_>>()).collect()
}

/// Compares a product of odd sizes with the reference: every sum within the rounding of its terms, and of both factors
/// where they are rounded to f16.
pub fn check(gpu: &Gpu, kernel: ProductKernel, format: WeightFormat) -> Result<()> {
    const INPUTS: usize = 130;
    let mut products = Products::new(gpu, kernel, format, [5, 67, INPUTS as u32], (1, 1))?;
    products.chain.run(1)?;
    let matrix = &products.weights;
    let in_i8 = kernel.inputs(INPUTS as u32) == InputRows::I8;
    let rounded: Vec<f32> = match in_i8 {
        true => products.x.chunks(INPUTS).flat_map(quantized).collect(),
        false => products.x.clone(),
    };
    let x = &rounded;
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
    let factors = match kernel {
        ProductKernel::MatmulCoop {} => 2f32.powi(-9) + 2f32.powi(-20),
        // A quotient may lie so near the middle between two codes that the device takes the other one.
        _ if in_i8 => 1.0 / 127.0 / INPUTS as f32,
        _ => 0.0,
    };
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
