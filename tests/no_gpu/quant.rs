use wattle::Error;
use wattle::quant::{IntFormat, PackedMatrix, Parent, QuantBlock, WeightFormat, Width, slice_code};
use wattle::reference::matmul::matmul;

use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;
use crate::support::random::Random;

pub const FILES: &[&str] = &["quant_slice_table", "quant_g32", "quant_g64", "quant_g128", "quant_pc"];

const BLOCKS: [QuantBlock; 4] =
    [QuantBlock::Inputs(32), QuantBlock::Inputs(64), QuantBlock::Inputs(128), QuantBlock::Channel];

fn formats() -> Vec<WeightFormat> {
    let int = |width| BLOCKS.map(|block| WeightFormat::Int(IntFormat { width, block }));
    Width::ALL.into_iter().flat_map(int).chain([WeightFormat::F32, WeightFormat::F16]).collect()
}

#[test]
fn slices_are_golden() {
    let golden = Golden::op(FILES[0]);
    for bits in [8, 6, 4, 3, 2] {
        let found: Vec<u32> = golden.indices("q").iter().map(|&q| slice_code(q as u8, bits).into()).collect();
        let case = format!("code.{bits}");
        assert_same(&case, &found, &golden.indices(&case));
    }
}

/// Slices on the parent's scale, worked out by hand; the paper gives 53 and 234 at two bits as examples.
#[test]
fn slices_of_the_paper() {
    let on_parent_scale = |q, bits| u32::from(slice_code(q, bits)) << (8 - bits);
    for (q, expected) in [
        (31, [32, 32, 32, 0]),
        (53, [52, 48, 64, 64]),
        (95, [96, 96, 96, 64]),
        (127, [128, 128, 128, 128]),
        (224, [224, 224, 224, 192]),
        (234, [236, 240, 224, 192]),
        (240, [240, 240, 224, 192]),
        (255, [252, 240, 224, 192]),
    ] {
        assert_eq!([6, 4, 3, 2].map(|bits| on_parent_scale(q, bits)), expected, "code {q}");
    }
}

#[test]
fn every_width_is_the_rounded_parent() {
    for bits in 1..=8 {
        let (step, top) = (f64::from(1 << (8 - bits)), f64::from((1 << bits) - 1));
        for q in 0..=255u8 {
            let expected = (f64::from(q) / step + 0.5).floor().min(top);
            assert_eq!(f64::from(slice_code(q, bits)), expected, "code {q}, {bits} bits");
        }
    }
}

#[test]
fn parents_and_their_products_are_golden() {
    for (file, block) in FILES[1..].iter().zip(BLOCKS) {
        let golden = Golden::op(file);
        let &[rows, cols] = &golden.shape("w")[..] else { panic!("{file}: w is [N,K]") };
        let w = golden.floats("w");
        let parent = Parent::quantize(&w, rows, cols, block).unwrap();
        assert_same(&format!("{file}, scale"), &parent.scale, &golden.floats("scale"));
        assert_same(&format!("{file}, zero"), &parent.zero, &golden.floats("zero"));
        let codes: Vec<i64> = parent.codes.iter().map(|&code| code.into()).collect();
        assert_same(&format!("{file}, codes"), &codes, &golden.integers("codes"));
        let dequantized = golden.floats("w_dequant.4");
        assert_close(file, &parent.dequantize(4), &dequantized, Tolerance::OfLargest(1e-6));
        for bits in [8, 6, 4, 3, 2] {
            let case = format!("{file}, {bits} bits");
            let codes: Vec<i64> = parent.codes.iter().map(|&code| slice_code(code, bits).into()).collect();
            assert_same(&case, &codes, &golden.integers(&format!("code.{bits}")));
            let y = matmul(&golden.floats("x"), &parent.dequantize(bits), None, cols);
            assert_close(&case, &y, &golden.floats(&format!("y.{bits}")), Tolerance::OfLargest(1e-6));
        }
        for width in Width::ALL {
            let format = WeightFormat::Int(IntFormat { width, block });
            let unpacked = PackedMatrix::pack(format, rows, cols, &w).unwrap().unpack();
            assert_same(&format!("{file}, {format} unpacked"), &unpacked, &parent.dequantize(width.bits()));
        }
    }
}

#[test]
fn packing_keeps_every_element_and_pads_with_zeros() {
    for format in formats() {
        for (rows, cols) in
            [(1, 1), (3, 5), (2, 31), (2, 33), (5, 63), (1, 65), (2, 129), (1, 257), (0, 7), (3, 0)]
        {
            let weights = Random::new(cols as u64).gaussian(rows * cols);
            let packed = PackedMatrix::pack(format, rows, cols, &weights).unwrap();
            let case = format!("{format} {rows} x {cols}");
            assert_eq!(packed.words.len(), rows * format.row_words(cols), "{case}");
            assert_eq!(format.row_bytes(cols) % 16, 0, "{case}");
            let expected = match format {
                WeightFormat::F32 => weights,
                WeightFormat::F16 => weights.iter().map(|&w| half::f16::from_f32(w).to_f32()).collect(),
                WeightFormat::Int(int) => {
                    assert_eq!(packed.scales.len(), rows * int.blocks(cols), "{case}");
                    Parent::quantize(&weights, rows, cols, int.block).unwrap().dequantize(int.width.bits())
                }
            };
            assert_same(&case, &packed.unpack(), &expected);
            for (row, mut words) in packed.words.chunks(format.row_words(cols).max(1)).enumerate() {
                for (bits, count) in format.planes(cols) {
                    let (plane, rest) = words.split_at(count);
                    let what = format!("{case}: plane of {bits} bits, row {row}");
                    let used = (cols * bits as usize).div_ceil(32);
                    assert!(plane[used..].iter().all(|&word| word == 0), "{what}: padding words");
                    let spare = (used * 32 - cols * bits as usize) as u32;
                    let last = if used == 0 { 0 } else { plane[used - 1] };
                    assert!(last.leading_zeros() >= spare, "{what}: padding elements");
                    words = rest;
                }
                assert!(words.is_empty(), "{case}: words beyond the planes");
            }
        }
    }
}

/// Element `i` at bit `(i % p) * bits` of word `i / p`.
#[test]
fn codes_lie_where_the_format_says() {
    // With 0 and 255 present the scale is 1 and each weight is its own code.
    let weights: Vec<f32> = [255, 0, 17, 34, 51].map(|w| w as f32).to_vec();
    let words = |width| {
        let format = WeightFormat::Int(IntFormat { width, block: QuantBlock::Channel });
        PackedMatrix::pack(format, 1, 5, &weights).unwrap().words
    };
    assert_eq!(words(Width::Int8), [0x2211_00ff, 0x33, 0, 0]);
    assert_eq!(words(Width::Int4), [0x0003_210f, 0, 0, 0]);
    assert_eq!(words(Width::Int2), [0b01_01_00_00_11, 0, 0, 0]);
    // 6 bits of 255, 0, 17, 34, 51 are 63, 0, 4, 9, 13: four bits of each, then two.
    assert_eq!(words(Width::Int6), [0x0003_210f, 0, 0, 0, 0b01_01_00_00_11, 0, 0, 0]);
    // 3 bits are 7, 0, 1, 1, 2: two bits of each, then one.
    assert_eq!(words(Width::Int3), [0b01_00_00_00_11, 0, 0, 0, 0b0_1_1_0_1, 0, 0, 0]);
    assert_eq!(words(Width::Int7).len(), 12, "planes of 4, 2 and 1 bits");
}

#[test]
fn extreme_blocks_survive() {
    let block = QuantBlock::Channel;
    let quantize = |weights: &[f32]| Parent::quantize(weights, 1, weights.len(), block).unwrap();
    for constant in [0.0, -0.0, 3.25, -7e37, f32::MAX, 1e-45] {
        let parent = quantize(&[constant; 3]);
        assert_eq!((parent.scale[0], &parent.codes[..]), (1.0, &[0; 3][..]), "{constant}");
        assert_eq!(parent.dequantize(2), [constant; 3], "{constant}");
    }
    let wide = quantize(&[f32::MAX, 0.0, f32::MIN]);
    assert_eq!(wide.codes, [255, 128, 0]);
    assert!(wide.dequantize(8).iter().all(|w| w.is_finite()), "{:?}", wide.dequantize(8));
    let narrow = quantize(&[0.0, 1e-45]);
    assert!(narrow.dequantize(8).iter().all(|w| w.abs() <= 1e-44), "{:?}", narrow.dequantize(8));
}

#[test]
fn formats_have_names() {
    for format in formats() {
        assert_eq!(format.to_string().parse::<WeightFormat>().unwrap(), format);
    }
    let int4 = WeightFormat::Int(IntFormat { width: Width::Int4, block: QuantBlock::Inputs(32) });
    assert_eq!("int4".parse::<WeightFormat>().unwrap(), int4);
    for wrong in
        ["", "int0", "int9", "int03", "int", "int+4", "f32:32", "int4:", "int4:33", "int4:rows", "INT4"]
    {
        assert!(matches!(wrong.parse::<WeightFormat>(), Err(Error::Unsupported { .. })), "'{wrong}'");
    }
}

#[test]
fn bad_input_is_an_error() {
    let int4 =
        |inputs| WeightFormat::Int(IntFormat { width: Width::Int4, block: QuantBlock::Inputs(inputs) });
    let pack = |format, weights: &[f32]| PackedMatrix::pack(format, 1, 3, weights).unwrap_err();
    for format in [0, 31, 256].map(int4) {
        assert!(matches!(pack(format, &[1.0; 3]), Error::Unsupported { .. }), "{format:?}");
    }
    for format in formats() {
        assert!(matches!(pack(format, &[1.0; 4]), Error::Shape { .. }), "{format}");
        let error = pack(format, &[1.0, f32::NAN, 1.0]);
        assert!(matches!(error, Error::NotFinite { index: 1, .. }), "{format}: {error}");
    }
    let error = pack(WeightFormat::F16, &[1.0, 2.0, 7e4]).to_string();
    assert!(error.contains("element 2") && error.contains("70000"), "{error}");
    let huge = PackedMatrix::pack(WeightFormat::F32, usize::MAX, 2, &[]);
    assert!(matches!(huge, Err(Error::Shape { .. })), "{huge:?}");
}
