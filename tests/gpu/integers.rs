//! Sums of products of codes, bit for bit: with scales of 1 and whole zero points the integer path has nothing to round.

use wattle::fragments::{Codec, InputRows};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::Matmul;
use wattle::kernels::matvec::{Matvec, VecTile};
use wattle::quant::{Codes, PackedMatrix, ScaleFormat, WeightFormat};

use crate::harness::{Run, gpu, span};
use crate::linear::{Linear, formats_of};
use crate::support::random::Random;

const ROWS: usize = 9;
const OUTPUTS: usize = 7;

/// Whole numbers in blocks of 32, the largest of which is 127: codes of scale 1.
fn inputs(random: &mut Random, width: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..width).map(|_| (random.bits() % 255) as f32 - 127.0).collect();
    x.chunks_mut(32).for_each(|block| block[0] = 127.0);
    x
}

/// Codes, as weights that are their own: every block has a 0 and a 255, so that its scale is 1 and its zero point 0.
fn weights(random: &mut Random, width: usize) -> Vec<f32> {
    let mut w: Vec<f32> = (0..width).map(|_| (random.bits() % 256) as f32).collect();
    w.chunks_mut(32).for_each(|block| [block[0], block[block.len() - 1]] = [255.0, 0.0]);
    w
}

fn sum(codes: Codes, w: &[f32], x: &[f32]) -> i64 {
    let step = 1 << (8 - codes.width.bits());
    w.iter().zip(x).map(|(w, x)| i64::from(codes.slice(*w as u8)) * step * *x as i64).sum()
}

fn check(format: WeightFormat, codes: Codes, width: usize, seed: u64) {
    let mut random = Random::new(seed);
    let x: Vec<f32> = (0..ROWS).flat_map(|_| inputs(&mut random, width)).collect();
    let w: Vec<f32> = (0..OUTPUTS).flat_map(|_| weights(&mut random, width)).collect();
    let matrix = PackedMatrix::pack(format, OUTPUTS, width, &w).unwrap();
    let layer = Linear { in_i8: true, ..Linear::plain(matrix, 1, x.clone()) };
    let rows = x.chunks(width);
    let expected: Vec<i64> =
        rows.flat_map(|x| w.chunks(width).map(|w| sum(codes, w, x)).collect::<Vec<_>>()).collect();
    assert!(expected.iter().all(|sum| sum.abs() < 1 << 24), "sums that f32 does not hold");
    let expected: Vec<f32> = expected.into_iter().map(|sum| sum as f32).collect();
    let codec = Codec::of(format, gpu().capabilities());
    let matvec = |rows| {
        let tile = VecTile { lanes: 32, team: 32, outputs: 4, rows };
        Matvec { inputs: InputRows::I8, tile, ..Matvec::new(codec, width as u32) }
    };
    let same = |run: &dyn Fn(LinearParams) -> Run| {
        layer.bind(run(layer.params)).out("y", expected.len()).go().same("y", &expected);
    };
    let what = format!("{format}, {width} inputs");
    let matmul = Matmul { inputs: InputRows::I8, ..Matmul::new(codec, width as u32) };
    // What a code is does not hang on which of the loops it meets: those go by turns.
    match seed % 3 {
        0 => same(&|params| Run::new(matvec(1), params, span(0, ROWS), &what)),
        1 => same(&|params| Run::new(matvec(8), params, span(0, ROWS), &what)),
        _ => same(&|params| Run::new(matmul, params, span(0, ROWS), &what)),
    }
}

#[test]
fn sums_of_codes_are_exact() {
    for (n, codec) in Codec::all().enumerate() {
        let Codec::Int(codes, ScaleFormat::F32) = codec else { continue };
        let formats = formats_of(codec);
        // Half a block at the end, a block alone, several.
        let width = [48, 32, 128, 336][n % 4];
        check(formats[n % formats.len()], codes, width, n as u64);
    }
}

/// The largest sums there can be are far from where 32 bits end: 32 times 127 times 255.
#[test]
fn the_largest_sums_of_a_block_are_exact() {
    for format in ["int8", "int7:ep:parent", "int6", "int1"] {
        let format: WeightFormat = format.parse().unwrap();
        let mut w = [255.0; 32];
        w[31] = 0.0;
        let matrix = PackedMatrix::pack(format, 1, 32, &w).unwrap();
        let step = matrix.unpack();
        for sign in [1.0, -1.0] {
            let layer = Linear { in_i8: true, ..Linear::plain(matrix.clone(), 1, vec![sign * 127.0; 32]) };
            let expected = step.iter().map(|w| sign * 127.0 * w).sum::<f32>();
            let codec = Codec::of(format, gpu().capabilities());
            let matvec = Matvec { inputs: InputRows::I8, ..Matvec::new(codec, 32) };
            let run = Run::new(matvec, layer.params, span(0, 1), format);
            layer.bind(run).out("y", 1).go().same("y", &[expected]);
        }
    }
}
