use wattle::Error;
use wattle::fragments::Codec;
use wattle::quant::{
    Codes, IntFormat, PackedMatrix, Parent, QuantBlock, Quantizer, ScaleFormat, WeightFormat, Width,
    slice_code,
};
use wattle::reference::matmul::matmul;

use crate::support::compare::{Tolerance, assert_close, assert_same};
use crate::support::golden::Golden;
use crate::support::random::Random;

pub const FILES: &[&str] = &["quant_slice_table", "quant_g32", "quant_g64", "quant_g128", "quant_pc"];

const BLOCKS: [QuantBlock; 4] =
    [QuantBlock::Inputs(32), QuantBlock::Inputs(64), QuantBlock::Inputs(128), QuantBlock::Channel];

/// Every codec's codes, by turns with every block.
fn formats() -> Vec<WeightFormat> {
    let int = |(n, codec)| match codec {
        Codec::Int(codes, scales) => {
            Some(WeightFormat::Int(IntFormat { codes, block: BLOCKS[n % 4], scales }))
        }
        Codec::F32 | Codec::F16 | Codec::F16Native => None,
    };
    let ints = Codec::all().enumerate().filter_map(int);
    let sliced = Width::ALL.into_iter().flat_map(|width| BLOCKS.map(|block| of(width, block)));
    ints.chain(sliced).chain([WeightFormat::F32, WeightFormat::F16]).collect()
}

fn codes_of(codec: Codec) -> Option<Codes> {
    match codec {
        Codec::Int(codes, _) => Some(codes),
        Codec::F32 | Codec::F16 | Codec::F16Native => None,
    }
}

fn of(width: Width, block: QuantBlock) -> WeightFormat {
    WeightFormat::Int(IntFormat { block, ..IntFormat::new(width) })
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
        assert_close(
            file,
            &parent.dequantize(Codes::sliced(Width::Int4)),
            &dequantized,
            Tolerance::OfLargest(1e-6),
        );
        for (extra_precision, prefix) in [(false, ""), (true, "ep.")] {
            for width in [Width::Int8, Width::Int6, Width::Int4, Width::Int3, Width::Int2] {
                if extra_precision && width == Width::Int8 {
                    continue;
                }
                let bits = width.bits();
                let case = format!("{file}, {prefix}{bits} bits");
                let sliced = Codes { extra_precision, ..Codes::sliced(width) };
                let codes: Vec<i64> = parent.codes.iter().map(|&code| sliced.slice(code).into()).collect();
                assert_same(&case, &codes, &golden.integers(&format!("{prefix}code.{bits}")));
                let y = matmul(&golden.floats("x"), &parent.dequantize(sliced), None, cols);
                let golden = golden.floats(&format!("{prefix}y.{bits}"));
                assert_close(&case, &y, &golden, Tolerance::OfLargest(1e-6));
            }
        }
        for codes in Codec::all().filter_map(codes_of) {
            let int = IntFormat { codes, block, scales: ScaleFormat::F32 };
            let unpacked = PackedMatrix::of_parent(&parent, int).unpack();
            assert_same(&format!("{file}, {codes:?} unpacked"), &unpacked, &parent.dequantize(codes));
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
                    assert_eq!(packed.scales.len(), rows * format.scale_words(cols), "{case}");
                    let quantizer = Quantizer { block: int.block, scales: int.scales };
                    quantizer.quantize(&weights, rows, cols).unwrap().dequantize(int.codes)
                }
            };
            assert_same(&case, &packed.unpack(), &expected);
        }
    }
}

/// Neighbours in neighbouring bytes: element `i` at bit `8 * (i % 4) + bits * (i % p / 4)` of word `i / p`.
#[test]
fn codes_lie_where_the_format_says() {
    // With 0 and 255 present the scale is 1 and each weight is its own code.
    let weights: Vec<f32> = [255, 0, 17, 34, 51].map(|w| w as f32).to_vec();
    let words = |width| {
        let format = of(width, QuantBlock::Channel);
        PackedMatrix::pack(format, 1, 5, &weights).unwrap().words
    };
    assert_eq!(words(Width::Int8), [0x2211_00ff, 0x33, 0, 0]);
    assert_eq!(words(Width::Int4), [0x0201_003f, 0, 0, 0]);
    assert_eq!(words(Width::Int2), [0x0100_0007, 0, 0, 0]);
    // 6 bits of 255, 0, 17, 34, 51 are 63, 0, 4, 9, 13: four bits of each, then two.
    assert_eq!(words(Width::Int6), [0x0201_003f, 0, 0, 0, 0x0100_0007, 0, 0, 0]);
    // 3 bits are 7, 0, 1, 1, 2: two bits of each, then one.
    assert_eq!(words(Width::Int3), [0x0000_0007, 0, 0, 0, 0x0101_0001, 0, 0, 0]);
    assert_eq!(words(Width::Int7).len(), 12, "planes of 4, 2 and 1 bits");
}

#[test]
fn extreme_blocks_survive() {
    let block = QuantBlock::Channel;
    let quantize = |weights: &[f32]| Parent::quantize(weights, 1, weights.len(), block).unwrap();
    for constant in [0.0, -0.0, 3.25, -7e37, f32::MAX, 1e-45] {
        let parent = quantize(&[constant; 3]);
        assert_eq!((parent.scale[0], &parent.codes[..]), (1.0, &[0; 3][..]), "{constant}");
        assert_eq!(parent.dequantize(Codes::sliced(Width::Int2)), [constant; 3], "{constant}");
    }
    let wide = quantize(&[f32::MAX, 0.0, f32::MIN]);
    assert_eq!(wide.codes, [255, 128, 0]);
    assert!(
        wide.dequantize(Codes::sliced(Width::Int8)).iter().all(|w| w.is_finite()),
        "{:?}",
        wide.dequantize(Codes::sliced(Width::Int8))
    );
    let narrow = quantize(&[0.0, 1e-45]);
    assert!(
        narrow.dequantize(Codes::sliced(Width::Int8)).iter().all(|w| w.abs() <= 1e-44),
        "{:?}",
        narrow.dequantize(Codes::sliced(Width::Int8))
    );
}

#[test]
fn formats_have_names() {
    for format in formats() {
        assert_eq!(format.to_string().parse::<WeightFormat>().unwrap(), format);
    }
    let int4 = of(Width::Int4, QuantBlock::Inputs(32));
    assert_eq!("int4".parse::<WeightFormat>().unwrap(), int4);
    for wrong in [
        "",
        "int0",
        "int9",
        "int03",
        "int",
        "int+4",
        "f32:32",
        "int4:",
        "int4:33",
        "int4:rows",
        "int4:",
        "int4:ep:x",
        "f16:f16",
        "INT4",
    ] {
        assert!(matches!(wrong.parse::<WeightFormat>(), Err(Error::Unsupported { .. })), "'{wrong}'");
    }
}

#[test]
fn bad_input_is_an_error() {
    let int4 = |inputs| of(Width::Int4, QuantBlock::Inputs(inputs));
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

#[test]
fn widths_read_only_their_planes() {
    let bits = |text: &str| {
        let WeightFormat::Int(int) = text.parse().unwrap() else { panic!("{text} is an integer format") };
        [int.codes.read_bits(), int.codes.stored_bits()]
    };
    for (widths, expected) in [
        (["int8", "int8:parent"], [[8, 8], [8, 8]]),
        (["int7:planes", "int8:planes"], [[8, 9], [8, 9]]),
        (["int5:planes", "int6:planes"], [[7, 9], [7, 9]]),
        (["int4", "int4:planes"], [[4, 4], [5, 9]]),
        (["int3", "int3:planes"], [[3, 3], [4, 9]]),
        (["int2", "int2:planes"], [[2, 2], [2, 9]]),
        (["int2:ep", "int2:ep:planes"], [[3, 3], [3, 9]]),
        (["int1:planes", "int1"], [[3, 9], [1, 1]]),
        (["int2:parent", "int6:ep:parent"], [[8, 8], [8, 8]]),
    ] {
        assert_eq!(widths.map(bits), expected, "{widths:?}");
    }
}

/// The scale is stored before codes are chosen: whatever it is rounded to, no code is off by more than half a step of it.
#[test]
fn half_scales_cost_a_wider_step_and_no_more() {
    let quantizer = Quantizer { block: QuantBlock::Inputs(32), scales: ScaleFormat::F16 };
    for (size, shift) in [(1.0, 0.0), (1e-4, 0.0), (1e-3, 1.0), (1e5, 0.0), (3.0, -40.0)] {
        let weights: Vec<f32> = Random::new(3).gaussian(256).iter().map(|w| w * size + shift).collect();
        let parent = quantizer.quantize(&weights, 1, 256).unwrap();
        for (at, (&w, found)) in weights.iter().zip(parent.dequantize(Codes::sliced(Width::Int8))).enumerate()
        {
            let (scale, zero) = (parent.scale[at / 32], parent.zero[at / 32]);
            assert_eq!([scale, zero], [scale, zero].map(|v| half::f16::from_f32(v).to_f32()));
            // Half a step, and what rounding the zero point cuts off at the ends.
            let allowed = scale * (0.5 + zero.abs() * f32::EPSILON * 4096.0);
            assert!(
                (found - w).abs() <= 1.001 * allowed,
                "{size}, {shift}: {w} is {found}, allowed {allowed}"
            );
        }
    }
    let error = quantizer.quantize(&[-2e7, 2e7], 1, 2).unwrap_err();
    assert!(matches!(error, Error::TensorMismatch { .. }), "{error}");
}

#[test]
fn overflow_is_the_share_of_codes_above() {
    // Codes 0, 224, 255 and 223: two of four round to 4 at two bits.
    let weights = [0.0, 224.0, 255.0, 223.0];
    let parent = Parent::quantize(&weights, 1, 4, QuantBlock::Channel).unwrap();
    assert_eq!(parent.overflow(Width::Int2), 0.5);
    assert_eq!(parent.overflow(Width::Int8), 0.0);
}
