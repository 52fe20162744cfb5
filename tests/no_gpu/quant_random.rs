//! Random matrices have the statistics that keep activations of order 1, and nothing past their rows.

use wattle::quant::{PackedMatrix, WeightFormat};

const FORMATS: [&str; 9] =
    ["f32", "f16", "int8", "int7", "int6:64", "int4", "int3", "int2:128", "int4:channel"];

fn random(format: &str, rows: std::ops::Range<usize>, cols: usize) -> PackedMatrix {
    PackedMatrix::random(format.parse::<WeightFormat>().unwrap(), rows, cols, 1)
}

#[test]
fn products_are_as_large_as_their_inputs() {
    for format in FORMATS {
        for cols in [300, 4096] {
            let weights = random(format, 0..512, cols).unpack();
            let count = weights.len() as f64;
            let mean = weights.iter().map(|w| f64::from(*w)).sum::<f64>() / count;
            let variance = weights.iter().map(|w| f64::from(w * w)).sum::<f64>() / count * cols as f64;
            // Five standard errors of a mean whose terms have a variance of at most 2 / cols.
            let allowed = 5.0 * (2.0 / (cols as f64 * count)).sqrt();
            assert!(mean.abs() < allowed, "{format}, {cols} inputs: mean {mean}, allowed {allowed}");
            assert!((0.5..=2.0).contains(&variance), "{format}, {cols} inputs: variance {variance} / cols");
        }
    }
}

#[test]
fn pieces_are_parts_of_the_whole() {
    for format in FORMATS {
        let (whole, part) = (random(format, 0..64, 256), random(format, 10..20, 256));
        let row_words = whole.format.row_words(256);
        assert_eq!(whole.words[10 * row_words..20 * row_words], part.words[..], "{format}");
    }
}

#[test]
fn what_is_past_a_row_is_zero() {
    for format in FORMATS {
        for cols in [1, 31, 32, 35, 63, 300] {
            let mut packed = random(format, 0..3, cols);
            let format = packed.format;
            for (n, mut row) in packed.words.chunks_exact_mut(format.row_words(cols)).enumerate() {
                for (bits, words) in format.planes(cols) {
                    let (plane, rest) = row.split_at_mut(words);
                    for at in (0..cols).map(|col| col * bits as usize) {
                        plane[at / 32] &= !((u32::MAX >> (32 - bits)) << (at % 32));
                    }
                    assert!(plane.iter().all(|word| *word == 0), "{format}, {cols} inputs, row {n}");
                    row = rest;
                }
            }
        }
    }
}
