//! Codes that reach over a part of the weights.

use wattle::Error;
use wattle::quant::{
    Clip, Codes, PackedMatrix, Parent, QuantBlock, Quantizer, ScaleFormat, WeightFormat, Width,
};

use crate::support::random::Random;

const F32: Quantizer = Quantizer { block: QuantBlock::Channel, scales: ScaleFormat::F32 };

fn clip(gamma: f32, beta: f32) -> Clip {
    Clip { gamma, beta }
}

fn quantize(quantizer: Quantizer, weights: &[f32], rows: usize, clips: &[Clip]) -> Parent {
    quantizer.quantize_clipped(weights, rows, weights.len() / rows, clips).unwrap()
}

/// `scale = (gamma max - beta min) / 255`, `zero = -beta min / scale`, `code = clamp(round(w / scale + zero))`.
#[test]
fn parents_by_hand() {
    let weights = [-2.0, 0.1, 1.1, 4.0];
    for (gamma, beta, scale, zero, codes) in [
        // From -2 to 4: as without a clip.
        (1.0, 1.0, 6.0 / 255.0, 85.0, [0, 89, 132, 255]),
        // From -2 to 2: 4 is cut off.
        (0.5, 1.0, 4.0 / 255.0, 127.5, [0, 134, 198, 255]),
        // From -1 to 4: -2 is cut off.
        (1.0, 0.5, 5.0 / 255.0, 51.0, [0, 56, 107, 255]),
        // From -0.5 to 2.
        (0.5, 0.25, 2.5 / 255.0, 51.0, [0, 61, 163, 255]),
        // From 0 to 4: codes below the clip are 0, and so is the zero point.
        (1.0, 0.0, 4.0 / 255.0, 0.0, [0, 6, 70, 255]),
    ] {
        let parent = quantize(F32, &weights, 1, &[clip(gamma, beta)]);
        assert_eq!(parent.codes, codes, "{gamma}, {beta}");
        assert_eq!(parent.scale, [scale], "{gamma}, {beta}");
        // Through a scale that was rounded.
        assert!((parent.zero[0] - zero).abs() <= zero * f32::EPSILON, "{gamma}, {beta}: {:?}", parent.zero);
    }
}

#[test]
fn clips_of_one_change_no_bit() {
    let (rows, cols) = (5, 70);
    let weights = Random::new(1).gaussian(rows * cols);
    for format in ["int8", "int4:64", "int2:channel", "int8:f16", "int4:planes:f16", "f16", "f32"] {
        let format: WeightFormat = format.parse().unwrap();
        let plain = PackedMatrix::pack(format, rows, cols, &weights).unwrap();
        let clipped = PackedMatrix::pack_clipped(format, rows, cols, &weights, &[Clip::NONE; 5]).unwrap();
        assert_eq!(plain, clipped, "{format}");
    }
}

#[test]
fn a_tighter_clip_has_a_smaller_step() {
    for scales in [ScaleFormat::F32, ScaleFormat::F16] {
        let weights = Random::new(2).gaussian(256);
        let quantizer = Quantizer { scales, ..F32 };
        let scale = |gamma, beta| quantize(quantizer, &weights, 1, &[clip(gamma, beta)]).scale[0];
        assert!(scale(0.9, 1.0) < scale(1.0, 1.0) && scale(1.0, 0.9) < scale(1.0, 1.0), "{scales:?}");
        assert!(scale(0.8, 0.8) < scale(0.9, 0.9), "{scales:?}");
        // Within the clip a weight is half a step away at most, beyond it is the end of the clip.
        let parent = quantize(quantizer, &weights, 1, &[clip(0.6, 0.5)]);
        let (min, max) = weights.iter().fold((0.0f32, 0.0f32), |(lo, hi), w| (lo.min(*w), hi.max(*w)));
        let step = parent.scale[0];
        // In f16 a zero point of up to 255 is off by up to 2^-4, and 255 steps that are each up to 2^-10 too long end a
        // quarter of a step further up.
        let loose = if scales == ScaleFormat::F16 { 0.3125 * step } else { 1e-5 };
        for (w, found) in weights.iter().zip(parent.dequantize(Codes::sliced(Width::Int8))) {
            let expected = w.clamp(0.5 * min, 0.6 * max);
            assert!((found - expected).abs() <= 0.5 * step + loose, "{scales:?}: {w} became {found}");
        }
    }
}

/// By output, and by block of each output.
#[test]
fn clips_belong_to_rows_or_blocks() {
    let quantizer = Quantizer { block: QuantBlock::Inputs(32), ..F32 };
    let weights = Random::new(3).gaussian(3 * 40);
    let one = |row: usize, cols: std::ops::Range<usize>, clip: Clip| {
        let block = &weights[row * 40 + cols.start..row * 40 + cols.end];
        quantize(F32, block, 1, &[clip]).scale[0]
    };
    let by_row = [clip(0.9, 0.8), clip(0.7, 0.6), clip(0.5, 0.4)];
    let found = quantize(quantizer, &weights, 3, &by_row).scale;
    let expected: Vec<f32> =
        (0..3).flat_map(|row| [one(row, 0..32, by_row[row]), one(row, 32..40, by_row[row])]).collect();
    assert_eq!(found, expected);

    let by_block: Vec<Clip> = (0..6u8).map(|n| clip(1.0 - f32::from(n) / 10.0, 0.5)).collect();
    let found = quantize(quantizer, &weights, 3, &by_block).scale;
    let expected: Vec<f32> = (0..3)
        .flat_map(|row| [one(row, 0..32, by_block[2 * row]), one(row, 32..40, by_block[2 * row + 1])])
        .collect();
    assert_eq!(found, expected);

    let error = quantizer.quantize_clipped(&weights, 3, 40, &by_block[..4]).unwrap_err();
    assert!(matches!(&error, Error::Shape { tensor, .. } if tensor == "clips"), "{error}");
}

#[test]
fn constant_blocks_keep_their_rule() {
    for weight in [3.0, 0.0, -0.5] {
        for clip in [clip(0.5, 1.0), clip(0.0, 0.0)] {
            let parent = quantize(F32, &[weight; 7], 1, &[clip]);
            assert_eq!((parent.scale[0], parent.zero[0], &parent.codes[..]), (1.0, -weight, &[0; 7][..]));
        }
    }
}

#[test]
fn clips_that_leave_nothing_are_refused() {
    for (gamma, beta) in
        [(0.5, 1.0), (0.0, 0.0), (-1.0, 1.0), (f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0)]
    {
        for scales in [ScaleFormat::F32, ScaleFormat::F16] {
            let quantizer = Quantizer { scales, ..F32 };
            let error = quantizer.quantize_clipped(&[2.0, 3.0], 1, 2, &[clip(gamma, beta)]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("gamma * max above beta * min"), "{gamma}, {beta}: {text}");
        }
    }
}
