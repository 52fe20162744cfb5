//! Matrices out of nothing: stored words filled with bits of a seeded counter. Nothing is quantized, so gigabytes are
//! made about as fast as they can be written.

use std::ops::Range;

use super::{PackedMatrix, WeightFormat};

impl PackedMatrix {
    /// Rows `rows` of a random matrix of any height with `cols` inputs: weights of mean 0 and a variance of about
    /// `1 / cols`, so that a product is about as large as its input. Every word is a function of `key` and of its
    /// place, the same in whatever pieces the matrix is asked for; the same key in another format is another matrix.
    pub fn random(format: WeightFormat, rows: Range<usize>, cols: usize, key: u64) -> Self {
        let row_words = format.row_words(cols);
        let [random, fixed] = word_bits(format, cols);
        let mut words = random_words(key, rows.start * row_words, rows.len() * row_words);
        for row in words.chunks_exact_mut(row_words.max(1)) {
            row.iter_mut().for_each(|word| *word = (*word & random) | fixed);
            clear_padding(format, cols, row);
        }
        let scales = scales(format, cols, rows.len());
        Self { format, rows: rows.len(), cols, words, scales }
    }
}

/// Words `first ..` of the stream of a key: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) as a function of place.
pub(crate) fn random_words(key: u64, first: usize, count: usize) -> Vec<u32> {
    let word = |at: u64| (mix(key.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 32) as u32;
    (first as u64..).take(count).map(word).collect()
}

/// The output function of SplitMix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Which bits of a word are random, and the others.
///
/// Codes are random altogether. Floats have a random sign and mantissa and one exponent, that of the power of two
/// nearest to `a = sqrt(3 / (7 cols))`: magnitudes uniform from `a` to `2 a` have a mean square of `7 a^2 / 3`.
fn word_bits(format: WeightFormat, cols: usize) -> [u32; 2] {
    let exponent = (3.0 / (7.0 * cols.max(1) as f64)).sqrt().log2().round() as i32;
    match format {
        WeightFormat::F32 => [0x807f_ffff, ((127 + exponent) as u32) << 23],
        WeightFormat::F16 => [0x83ff_83ff, ((15 + exponent.max(-14)) as u32 * 0x0001_0001) << 10],
        WeightFormat::Int(_) => [u32::MAX, 0],
    }
}

/// The scale and zero point that give uniform codes a mean of 0 and a variance of `1 / cols`.
fn scales(format: WeightFormat, cols: usize, rows: usize) -> Vec<[f32; 2]> {
    let WeightFormat::Int(int) = format else { return Vec::new() };
    let (codes, step) = (f64::from(1 << int.width.bits()), f64::from(1 << (8 - int.width.bits())));
    let deviation = step * ((codes * codes - 1.0) / 12.0).sqrt();
    let scale = 1.0 / (deviation * (cols.max(1) as f64).sqrt());
    let zero = step * (codes - 1.0) / 2.0;
    vec![[scale as f32, zero as f32]; rows * int.blocks(cols)]
}

/// Clears what lies behind the elements of each plane of a row.
fn clear_padding(format: WeightFormat, cols: usize, mut row: &mut [u32]) {
    for (bits, words) in format.planes(cols) {
        let (plane, rest) = row.split_at_mut(words);
        let used = cols * bits as usize;
        let mut padding = plane[used / 32..].iter_mut();
        if let Some(word) = padding.next() {
            *word &= (1 << (used % 32)) - 1;
        }
        padding.for_each(|word| *word = 0);
        row = rest;
    }
}
