//! Matrices out of nothing: stored words filled with bits of a seeded counter. Nothing is quantized, so gigabytes are
//! made about as fast as they can be written.

use std::ops::Range;

use super::rows::{plane_words, used_bits};
use super::{Codes, IntFormat, PackedMatrix, Storage, WeightFormat};

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
            if let WeightFormat::Int(IntFormat { codes: Codes { storage: Storage::Planes, .. }, .. }) = format
            {
                derive_first_plane(cols, row);
            }
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

/// The scales and zero points that give random codes a mean of 0 and a variance of `1 / cols`.
fn scales(format: WeightFormat, cols: usize, rows: usize) -> Vec<u32> {
    let WeightFormat::Int(int) = format else { return Vec::new() };
    let (mean, deviation) = distribution(int.codes);
    let scale = 1.0 / (deviation * (cols.max(1) as f64).sqrt());
    let block: Vec<u32> = int.scales.encode([scale as f32, mean as f32]).collect();
    block.repeat(rows * int.blocks(cols))
}

/// Mean and standard deviation of slices, on the scale of 8 bits, whose stored bits are random.
fn distribution(codes: Codes) -> (f64, f64) {
    let step = f64::from(1 << (8 - codes.width.bits()));
    let stored = 1 << codes.stored_bits();
    let slices = || (0..stored).map(|stored| step * f64::from(codes.decode(stored)));
    let mean = slices().sum::<f64>() / f64::from(stored);
    let variance = slices().map(|slice| (slice - mean).powi(2)).sum::<f64>() / f64::from(stored);
    (mean, variance.sqrt())
}

/// Makes the first of the nested planes what the others say it is: [`Storage::Planes`].
fn derive_first_plane(cols: usize, row: &mut [u32]) {
    const ONES: u32 = 0x0101_0101;
    let (of_one, of_two) = (plane_words(1, cols), plane_words(2, cols));
    for at in 0..of_one {
        let upper = row[of_one + at];
        row[at] = (0..8).fold(0, |first, quad| {
            let pairs = 2 * at + quad / 4;
            let pair = if pairs < of_two { row[2 * of_one + pairs] >> (2 * (quad % 4)) } else { 0 };
            let (either, both) = ((pair | pair >> 1) & ONES, pair & pair >> 1 & ONES);
            let q7 = (upper >> quad ^ either) & ONES;
            first | (q7 | both) << quad
        });
    }
}

/// Clears what lies behind the elements of each plane of a row.
fn clear_padding(format: WeightFormat, cols: usize, mut row: &mut [u32]) {
    for (bits, words) in format.planes(cols) {
        let (plane, rest) = row.split_at_mut(words);
        for (at, word) in plane.iter_mut().enumerate().skip(cols * bits as usize / 32) {
            *word &= used_bits(bits, cols, at);
        }
        row = rest;
    }
}
