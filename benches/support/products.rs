//! The two products with a weight matrix, plain (no norm, bias or activation), on random numbers.

use std::collections::HashMap;
use std::sync::Arc;

use wattle::fragments::{Codec, Epilogue, InputNorm, Reduce};
use wattle::kernel::{AnyLaunch, Launch};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::{Matmul, TileRows};
use wattle::kernels::matvec::{Matvec, VecRows, VecTile};
use wattle::quant::{PackedMatrix, WeightFormat};
use wattle::reference;
use wattle::{Gpu, Tensor};

use super::Result;
use super::chain::{Chain, Link};

/// The launch of a product with weights in a format.
pub type Product = fn(&Gpu, WeightFormat, LinearParams) -> Arc<dyn AnyLaunch>;

/// Many rows.
pub fn matmul(gpu: &Gpu, format: WeightFormat, params: LinearParams) -> Arc<dyn AnyLaunch> {
    let codec = Codec::of(format, gpu.capabilities());
    let variant = Matmul { codec, epilogue: Epilogue::NONE, rows: TileRows::Dense };
    Launch { variant, params }.shared()
}

/// Few rows.
pub fn matvec(gpu: &Gpu, format: WeightFormat, params: LinearParams) -> Arc<dyn AnyLaunch> {
    let variant = Matvec {
        codec: Codec::of(format, gpu.capabilities()),
        norm: InputNorm::None,
        epilogue: Epilogue::NONE,
        rows: VecRows::Dense,
        reduce: Reduce::of(gpu.capabilities()),
        tile: VecTile::shared(params.in_features, 1),
    };
    Launch { variant, params }.shared()
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
        product: Product,
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
        let launch = product(gpu, format, LinearParams::dense(format, outputs, inputs));
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

/// Compares a product of odd sizes with the reference: every sum within the rounding of its terms.
pub fn check(gpu: &Gpu, product: Product, format: WeightFormat) -> Result<()> {
    const INPUTS: usize = 130;
    let mut products = Products::new(gpu, product, format, [5, 67, INPUTS as u32], 1)?;
    products.chain.run(1)?;
    let (x, weights) = (&products.x, products.weights.unpack());
    let magnitudes = |values: &[f32]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
    let product = |x: &[f32], weights: &[f32]| reference::matmul::matmul(x, weights, None, INPUTS);
    let expected = product(x, &weights);
    let terms = product(&magnitudes(x), &magnitudes(&weights));
    let found = gpu.block_on(products.y.read::<f32>(gpu, 0, expected.len()))?;
    for (at, (found, (expected, terms))) in found.iter().zip(expected.iter().zip(&terms)).enumerate() {
        let allowed = INPUTS as f32 * f32::EPSILON * terms;
        let close = (found - expected).abs() <= allowed;
        if !close {
            let expected = format!("expected {expected} ±{allowed}, found {found}");
            return Err(format!("{format}, output {at}: {expected}").into());
        }
    }
    Ok(())
}
