//! Random matrices have the statistics that keep activations of order 1, and nothing past their rows.

use wattle::quant::{PackedMatrix, WeightFormat};

const FORMATS: [&str; 12] = [
    "f32",
    "f16",
    "int8",
    "int7",
    "int6:64",
    "int4",
    "int3",
    "int2:128",
    "int4:channel",
    "int3:ep:f16",
    "int2:parent",
    "int2:planes",
];

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
            let packed = random(format, 0..3, cols);
            let format = packed.format;
            for (n, row) in packed.words.chunks_exact(format.row_words(cols)).enumerate() {
                let mut words = row;
                for (bits, count) in format.planes(cols) {
                    let (plane, rest) = words.split_at(count);
                    let ones: u32 = plane.iter().map(|word| word.count_ones()).sum();
                    let inside: u32 = (0..cols).map(|col| element(plane, bits, col).count_ones()).sum();
                    assert_eq!(inside, ones, "{format}, {cols} inputs, row {n}, plane of {bits} bits");
                    words = rest;
                }
            }
        }
    }
}

/// What the format says of where an element is.
fn element(plane: &[u32], bits: u32, col: usize) -> u32 {
    let per_word = 32 / bits as usize;
    let within = (col % per_word) as u32;
    let bit = if bits > 8 { bits * within } else { 8 * (within % 4) + bits * (within / 4) };
    (plane[col / per_word] >> bit) & (u32::MAX >> (32 - bits))
}

/// The first plane of nested ones says nothing that the others do not.
#[test]
fn nested_planes_belong_together() {
    for cols in [1, 33, 64, 65, 130, 300] {
        let packed = random("int2:planes", 0..5, cols);
        let row_words = packed.format.row_words(cols);
        for row in packed.words.chunks_exact(row_words) {
            let mut planes = vec![];
            let mut words = row;
            for (bits, count) in packed.format.planes(cols) {
                planes.push((bits, &words[..count]));
                words = &words[count..];
            }
            for col in 0..cols {
                let [h, g, pair] = [0, 1, 2].map(|n| element(planes[n].1, planes[n].0, col));
                let top_three = (g ^ u32::from(pair != 0)) << 2 | pair;
                assert_eq!(h, u32::from(top_three >= 3), "{cols} inputs, element {col}");
            }
        }
    }
}
