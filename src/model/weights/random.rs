//! Weights out of nothing: the words that kernels read, filled with bits of a seeded counter.
//!
//! Nothing is quantized, so a model of many gigabytes is made about as fast as it can be uploaded.

use std::ops::Range;

use super::Contents;
use crate::Result;
use crate::model::layout::{Matrix, Vectors};
use crate::quant::{PackedMatrix, WeightFormat};

/// Weights that are a function of a seed, of a matrix's name and of the place in it, whatever the device.
pub(in crate::model) struct RandomWeights {
    seed: u64,
}

impl RandomWeights {
    pub(in crate::model) fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn stream(&self, name: &str, part: &str) -> Stream {
        // FNV-1a (draft-eastlake-fnv): tells names apart, and `mix` spreads what it leaves close.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let key = name.bytes().chain([0]).chain(part.bytes()).fold(0xcbf2_9ce4_8422_2325, hash);
        Stream { key: mix(key ^ mix(self.seed)) }
    }
}

impl Contents for RandomWeights {
    /// Weights of mean 0 and a variance of about `1 / cols`, so that a product is as large as its input.
    fn rows(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<PackedMatrix> {
        let (format, cols) = (matrix.format, matrix.cols as usize);
        let row_words = format.row_words(cols);
        let mut words = vec![0; rows.len() * row_words];
        self.stream(&matrix.name, "words").fill(rows.start as usize * row_words, &mut words);
        let [random, fixed] = word_bits(format, cols);
        let tail = Tail::of(format, cols);
        for row in words.chunks_exact_mut(row_words) {
            row.iter_mut().for_each(|word| *word = (*word & random) | fixed);
            tail.clear(row);
        }
        let scales = scales(format, cols, rows.len());
        Ok(PackedMatrix { format, rows: rows.len(), cols, words, scales })
    }

    /// Between -1/16 and 1/16.
    fn biases(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<Vec<f32>> {
        let mut words = vec![0; rows.len()];
        self.stream(&matrix.name, "bias").fill(rows.start as usize, &mut words);
        Ok(words.into_iter().map(|word| (unit(word) - 0.5) / 8.0).collect())
    }

    /// Scales between 1/2 and 3/2, shifts of 0.
    fn norm(&mut self, norm: &Vectors) -> Result<Vec<f32>> {
        let mut words = vec![0; norm.slots.len() * norm.width as usize];
        self.stream(&norm.name, "norm").fill(0, &mut words);
        let mut vectors: Vec<f32> = words.into_iter().map(|word| 0.5 + unit(word)).collect();
        vectors.resize((norm.vectors() * norm.width) as usize, 0.0);
        Ok(vectors)
    }
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
    let (codes, step) = (f64::from(1 << int.bits), f64::from(1 << (8 - int.bits)));
    let deviation = step * ((codes * codes - 1.0) / 12.0).sqrt();
    let scale = 1.0 / (deviation * (cols.max(1) as f64).sqrt());
    let zero = step * (codes - 1.0) / 2.0;
    vec![[scale as f32, zero as f32]; rows * int.blocks(cols)]
}

/// Where in a row of words the elements end.
struct Tail {
    whole_words: usize,
    /// The bits of the next word that are elements.
    partly: u32,
}

impl Tail {
    fn of(format: WeightFormat, cols: usize) -> Self {
        let bits = cols * format.bits() as usize;
        Self { whole_words: bits / 32, partly: (1 << (bits % 32)) - 1 }
    }

    fn clear(&self, row: &mut [u32]) {
        let mut rest = row[self.whole_words..].iter_mut();
        if let Some(word) = rest.next() {
            *word &= self.partly;
        }
        rest.for_each(|word| *word = 0);
    }
}

/// Random words by place, the same in whatever pieces they are asked for.
struct Stream {
    key: u64,
}

impl Stream {
    /// The words from `first` on.
    fn fill(&self, first: usize, words: &mut [u32]) {
        for (at, word) in (first as u64..).zip(words) {
            *word = (mix(self.key.wrapping_add(at.wrapping_mul(GOLDEN))) >> 32) as u32;
        }
    }
}

/// The increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A word as a number from 0 to 1, 1 not included.
fn unit(word: u32) -> f32 {
    (word >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Capabilities;
    use crate::model::layout::Layout;
    use crate::model::plan::WeightPlan;
    use crate::model::presets;

    const FORMATS: [&str; 6] = ["f32", "f16", "int8", "int4", "int2:128", "int4:channel"];

    /// The embedding of the small preset, with rows of `cols` inputs.
    fn table(format: &str, cols: u32) -> Matrix {
        let config = crate::model::config::ModelConfig { hidden_size: cols, ..presets::tiny_dense() };
        let format = format.parse().unwrap();
        let plan = WeightPlan { embedding: format, ..WeightPlan::uniform(format) };
        Layout::new(&config, &plan, &Capabilities::webgpu()).unwrap().embedding
    }

    #[test]
    fn products_are_as_large_as_their_inputs() {
        for format in FORMATS {
            let packed = RandomWeights::new(1).rows(&table(format, 300), 0..512).unwrap();
            let weights = packed.unpack();
            let mean = weights.iter().sum::<f32>() / weights.len() as f32;
            let variance = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32 * 300.0;
            assert!(mean.abs() < 0.001, "{format}: mean {mean}");
            assert!((0.5..2.0).contains(&variance), "{format}: variance {variance} / cols");
        }
    }

    #[test]
    fn what_is_past_a_row_is_zero() {
        for format in FORMATS {
            for cols in [1, 31, 32, 35, 63, 300] {
                let matrix = table(format, cols);
                let mut packed = RandomWeights::new(1).rows(&matrix, 0..3).unwrap();
                let bits = matrix.format.bits() as usize;
                let row_words = matrix.format.row_words(cols as usize);
                for (n, row) in packed.words.chunks_exact_mut(row_words).enumerate() {
                    for col in 0..cols as usize {
                        row[col * bits / 32] &= !((u32::MAX >> (32 - bits)) << (col * bits % 32));
                    }
                    assert!(row.iter().all(|word| *word == 0), "{format}, {cols} inputs, row {n}");
                }
            }
        }
    }

    #[test]
    fn weights_depend_on_seed_name_and_place_alone() {
        let matrix = table("int4", 256);
        let whole = RandomWeights::new(1).rows(&matrix, 0..64).unwrap();
        let part = RandomWeights::new(1).rows(&matrix, 10..20).unwrap();
        assert_eq!(whole.words[10 * 32..20 * 32], part.words[..]);
        assert_ne!(whole, RandomWeights::new(2).rows(&matrix, 0..64).unwrap());
        let renamed = Matrix { name: "head".into(), ..matrix };
        assert_ne!(whole, RandomWeights::new(1).rows(&renamed, 0..64).unwrap());
    }
}
