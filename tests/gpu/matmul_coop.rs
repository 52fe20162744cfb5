use wattle::fragments::{Codec, InputRows, MatrixSize};
use wattle::kernels::matmul::Matmul;
use wattle::kernels::matmul_coop::MatmulCoop;
use wattle::kernels::tile_rows::TileRows;
use wattle::quant::{PackedMatrix, WeightFormat};

use crate::harness::{Run, gpu, span};
use crate::linear::{Linear, formats_of};
use crate::matmul::{SHAPES, product_of};
use crate::select::selected;
use crate::tile_rows::{EXPERTS, check_with};

/// Rows, inputs, outputs around a tile of 32 rows by 64 outputs.
const MORE_SHAPES: [(usize, usize, usize); 4] = [(33, 31, 127), (70, 96, 64), (16, 1000, 66), (1, 33, 130)];

const FORMATS: [&str; 3] = ["f16", "int4", "int8:channel"];

fn shapes() -> Vec<(usize, usize, usize)> {
    [&SHAPES[..], &MORE_SHAPES].concat()
}

fn check(variant: MatmulCoop, format: WeightFormat, shape: (usize, usize, usize), seed: usize) {
    check_scaled(variant, format, shape, seed, |_| 1.0);
}

/// `scale` says how much larger each row of x is than by chance.
fn check_scaled(
    variant: MatmulCoop,
    format: WeightFormat,
    shape: (usize, usize, usize),
    seed: usize,
    scale: impl Fn(usize) -> f32,
) {
    check_with(variant, product_of(variant.product), format, shape, seed as u64, |layer| {
        layer.in_f16 = true;
        let inputs = layer.matrix.cols;
        for (row, x) in layer.x.chunks_mut(inputs).enumerate() {
            x.iter_mut().for_each(|x| *x *= scale(row));
        }
    });
}

#[test]
fn variants_agree_with_the_reference() {
    let shapes = shapes();
    for (i, variant) in selected::<MatmulCoop>().into_iter().enumerate() {
        let formats = formats_of(variant.product.codec);
        for seed in [i, i + 4] {
            check(variant, formats[seed % formats.len()], shapes[seed % shapes.len()], seed);
        }
    }
}

/// Rows dense and grouped by turns; what a format decodes to is tested with the variants.
#[test]
fn every_shape_is_computed() {
    let Some(size) = MatrixSize::of(gpu().capabilities()) else { return };
    let grouped = TileRows::Grouped { experts: EXPERTS as u32 };
    for (i, shape) in shapes().into_iter().enumerate() {
        for (f, format) in FORMATS.into_iter().enumerate() {
            let format: WeightFormat = format.parse().unwrap();
            let codec = Codec::of(format, gpu().capabilities());
            let rows = if (f + i).is_multiple_of(2) { grouped } else { TileRows::Dense };
            let product = Matmul { rows, ..Matmul::new(codec, shape.1 as u32) };
            check(MatmulCoop { product, size }, format, shape, f + i);
        }
    }
}

/// f16 ends at 65504 and is coarse below 2^-14: neither may be seen in rows of any size, side by side in a tile.
#[test]
fn rows_of_any_magnitude_keep_their_precision() {
    let Some(size) = MatrixSize::of(gpu().capabilities()) else { return };
    let scales = [1e5, 1e-7, 1e6, 1.0, 1e30, 1e-30, 3e4];
    for (seed, format) in FORMATS.into_iter().enumerate() {
        let format: WeightFormat = format.parse().unwrap();
        let codec = Codec::of(format, gpu().capabilities());
        let product = Matmul { inputs: InputRows::Any, ..Matmul::new(codec, 257) };
        let variant = MatmulCoop { product, size };
        check_scaled(variant, format, (37, 257, 67), seed, |row| scales[row % scales.len()]);
    }
}

/// What no model has: weights that f16 cannot hold are cut off, and no infinity comes of them.
#[test]
fn weights_beyond_f16_stay_finite() {
    const INPUTS: usize = 40;
    let Some(size) = MatrixSize::of(gpu().capabilities()) else { return };
    let format: WeightFormat = "int8".parse().unwrap();
    let weights: Vec<f32> = (0..3 * INPUTS).map(|i| 1e5 * (i % 7) as f32 - 3e5).collect();
    let matrix = PackedMatrix::pack(format, 3, INPUTS, &weights).unwrap();
    let layer = Linear::plain(matrix, 1, vec![1e6; INPUTS]);
    let product = Matmul::new(Codec::of(format, gpu().capabilities()), INPUTS as u32);
    let run = Run::new(MatmulCoop { product, size }, layer.params, span(0, 1), "large weights");
    let found = layer.bind(run).out("y", 3).go();
    let sums =
        weights.chunks(INPUTS).map(|row| row.iter().map(|w| 1e6 * w.clamp(-65504.0, 65504.0)).sum::<f32>());
    for (found, expected) in found.floats("y").iter().zip(sums) {
        assert!((found - expected).abs() <= 0.01 * 65504.0 * 1e6 * INPUTS as f32, "{found}, not {expected}");
    }
}
