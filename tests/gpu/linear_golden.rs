//! `matvec` and `matmul` against golden products: floats, quantized weights, activations, the tied head.

use wattle::fragments::{Activate, Codec, Epilogue, Reduce};
use wattle::kernels::matmul::Matmul;
use wattle::kernels::matvec::Matvec;
use wattle::quant::{Codes, IntFormat, PackedMatrix, QuantBlock, ScaleFormat, Storage, WeightFormat};

use crate::harness::{Run, gpu, is_supported, span};
use crate::linear::Linear;
use crate::support::compare::Tolerance;
use crate::support::golden::Golden;

/// A product by both kernels, with and without optional features.
fn check(layer: &Linear, golden: &[f32], tolerance: Tolerance, what: &str) {
    let rows = layer.x.len() / layer.matrix.cols;
    let codec = Codec::of(layer.matrix.format, gpu().capabilities());
    let inputs = layer.matrix.cols as u32;
    let Linear { norm, epilogue, .. } = *layer;
    let run = |run: Run| layer.bind(run).out("y", golden.len()).go().close("y", golden, tolerance);
    for reduce in Reduce::ALL {
        let variant = Matvec { norm, epilogue, reduce, ..Matvec::new(codec, inputs) };
        if is_supported(&variant) {
            run(Run::new(variant, layer.params, span(0, rows), what));
        }
    }
    run(Run::new(Matmul { epilogue, ..Matmul::new(codec, inputs) }, layer.params, span(0, rows), what));
}

fn floats(rows: usize, cols: usize, weights: &[f32]) -> PackedMatrix {
    PackedMatrix::pack(WeightFormat::F32, rows, cols, weights).unwrap()
}

#[test]
fn products_are_golden() {
    let golden = Golden::op("matmul");
    for case in ["1x1x1", "1x129x67", "3x63x130", "17x257x33", "65x100x71"] {
        let read = |name: &str| golden.floats(&format!("{name}.{case}"));
        let &[outputs, inputs] = &golden.shape(&format!("w.{case}"))[..] else {
            panic!("{case}: w is [N,K]")
        };
        let mut layer = Linear::plain(floats(outputs, inputs, &read("w")), 1, read("x"));
        check(&layer, &read("y"), Tolerance::OfLargest(1e-5), case);
        layer.epilogue.bias = true;
        layer.bias = read("bias");
        check(&layer, &read("y_bias"), Tolerance::OfLargest(1e-5), case);
    }
}

/// Every storage of every width there are products of, and their names.
fn golden_codes() -> impl Iterator<Item = (Codes, String)> {
    Codec::all().filter_map(|codec| {
        let Codec::Int(codes, ScaleFormat::F32) = codec else { return None };
        let prefix = if codes.extra_precision { "ep." } else { "" };
        let is_golden = matches!(codes.width.bits(), 8 | 6 | 4 | 3 | 2);
        is_golden.then(|| (codes, format!("{prefix}y.{}", codes.width.bits())))
    })
}

#[test]
fn quantized_products_are_golden() {
    let blocks = [
        ("quant_g32", QuantBlock::Inputs(32)),
        ("quant_g64", QuantBlock::Inputs(64)),
        ("quant_g128", QuantBlock::Inputs(128)),
        ("quant_pc", QuantBlock::Channel),
    ];
    for (file, block) in blocks {
        let golden = Golden::op(file);
        let &[outputs, inputs] = &golden.shape("w")[..] else { panic!("{file}: w is [N,K]") };
        for (codes, name) in golden_codes() {
            let format = WeightFormat::Int(IntFormat { codes, block, scales: ScaleFormat::F32 });
            let matrix = PackedMatrix::pack(format, outputs, inputs, &golden.floats("w")).unwrap();
            let y = golden.floats(&name);
            // Storages differ in how a weight is decoded, not in which rows it meets.
            let rows: &[usize] = if codes.storage == Storage::Sliced { &[1, 3, 16, 65] } else { &[65] };
            for &rows in rows {
                let x = golden.floats("x")[..rows * inputs].to_vec();
                let layer = Linear::plain(matrix.clone(), 1, x);
                let what = format!("{file}, {format}");
                check(&layer, &y[..rows * outputs], Tolerance::OfLargest(1e-5), &what);
            }
        }
    }
}

/// Weights of one column and an input of 1 put the arguments into the epilogue as they are.
#[test]
fn activations_are_golden() {
    let golden = Golden::op("activation");
    let (x, up) = (golden.floats("x"), golden.floats("up"));
    let pairs: Vec<f32> = x.iter().zip(&up).flat_map(|(&x, &up)| [x, up]).collect();
    for (name, activate, gated, softcap) in [
        ("relu", Activate::Relu, false, 1.0),
        ("relu2", Activate::Relu2, false, 1.0),
        ("silu", Activate::Silu, false, 1.0),
        ("gelu_tanh", Activate::GeluTanh, false, 1.0),
        ("gelu_erf", Activate::GeluErf, false, 1.0),
        ("softcap_5", Activate::Softcap, false, 5.0),
        ("softcap_30", Activate::Softcap, false, 30.0),
        ("reglu", Activate::Relu, true, 1.0),
        ("swiglu", Activate::Silu, true, 1.0),
        ("geglu_tanh", Activate::GeluTanh, true, 1.0),
        ("geglu_erf", Activate::GeluErf, true, 1.0),
    ] {
        let column = if gated { &pairs } else { &x };
        let mut layer = Linear::plain(floats(column.len(), 1, column), 1, vec![1.0]);
        layer.epilogue = Epilogue { activate, gated, ..Epilogue::NONE };
        layer.params.softcap = softcap;
        layer.params.out_stride = x.len() as u32;
        check(&layer, &golden.floats(name), Tolerance::Mixed(2e-5, 1e-6), name);
    }
}

#[test]
fn the_tied_head_is_golden() {
    let golden = Golden::op("embedding");
    let &[vocab, width] = &golden.shape("table")[..] else { panic!("table is [V,d]") };
    let table = floats(vocab, width, &golden.floats("table"));
    let mut layer = Linear::plain(table, 1, golden.floats("h"));
    check(&layer, &golden.floats("logits"), Tolerance::OfLargest(1e-5), "logits");
    layer.epilogue.activate = Activate::Softcap;
    layer.params.softcap = 8.0;
    check(&layer, &golden.floats("logits_softcap_8"), Tolerance::Mixed(2e-5, 1e-5), "logits_softcap_8");
}
