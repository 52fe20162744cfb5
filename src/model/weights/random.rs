//! Weights out of nothing, for measuring.

use std::ops::Range;

use super::Contents;
use crate::Result;
use crate::model::layout::{Matrix, Vectors, VectorsKind};
use crate::quant::{PackedMatrix, mix, random_words};

/// Weights that are a function of a seed, of a matrix's name and of the place in it, whatever the device.
pub(in crate::model) struct RandomWeights {
    seed: u64,
}

impl RandomWeights {
    pub(in crate::model) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The key of a tensor: FNV-1a (draft-eastlake-fnv) of its name tells names apart, `mix` spreads what it leaves
    /// close.
    fn key(&self, tensor: &str, part: &str) -> u64 {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let bytes = tensor.bytes().chain([0]).chain(part.bytes());
        mix(bytes.fold(0xcbf2_9ce4_8422_2325, hash) ^ mix(self.seed))
    }
}

impl Contents for RandomWeights {
    fn rows(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<PackedMatrix> {
        let rows = rows.start as usize..rows.end as usize;
        let key = self.key(&matrix.name, "words");
        Ok(PackedMatrix::random(matrix.format, rows, matrix.cols as usize, key))
    }

    /// Between -1/16 and 1/16.
    fn biases(&mut self, matrix: &Matrix, rows: Range<u32>) -> Result<Vec<f32>> {
        let words = random_words(self.key(&matrix.name, "bias"), rows.start as usize, rows.len());
        Ok(words.into_iter().map(|word| (unit(word) - 0.5) / 8.0).collect())
    }

    /// Scales between 1/2 and 3/2, shifts of 0; biases of scores between -1/2 and 1/2; any experts.
    fn vectors(&mut self, vectors: &Vectors) -> Result<Vec<f32>> {
        let scales = vectors.widths.iter().sum::<u32>() as usize;
        let words = random_words(self.key(&vectors.name, "norm"), 0, scales);
        if let VectorsKind::Experts { count, choices } = vectors.kind {
            // Neighbours from any expert on, so that a row has each once.
            let first = |n: usize| words[n - n % choices as usize] % count;
            let expert = |n: usize| (first(n) + n as u32 % choices) % count;
            return Ok((0..words.len()).map(|n| expert(n) as f32).collect());
        }
        if let VectorsKind::RelativeBias { .. } = vectors.kind {
            return Ok(words.into_iter().map(|word| unit(word) - 0.5).collect());
        }
        let mut data: Vec<f32> = words.into_iter().map(|word| 0.5 + unit(word)).collect();
        data.resize(vectors.len() as usize, 0.0);
        Ok(data)
    }
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
    use crate::quant::WeightFormat;

    #[test]
    fn weights_depend_on_seed_and_name() {
        let plan = WeightPlan::uniform(WeightFormat::F32);
        let layout = Layout::new(&presets::tiny_dense(), &plan, &Capabilities::webgpu()).unwrap();
        let matrix = &layout.embedding;
        let rows = |seed, matrix: &Matrix| RandomWeights::new(seed).rows(matrix, 3..7).unwrap();
        assert_eq!(rows(1, matrix), rows(1, matrix));
        assert_ne!(rows(1, matrix), rows(2, matrix));
        assert_ne!(rows(1, matrix), rows(1, &Matrix { name: "head".into(), ..matrix.clone() }));
    }

    #[test]
    fn norms_have_a_scale_and_shifts_of_zero() {
        let mut config = presets::tiny_dense();
        config.final_norm.kind = crate::model::config::NormKind::LayerNorm;
        let plan = WeightPlan::uniform(WeightFormat::F32);
        let layout = Layout::new(&config, &plan, &Capabilities::webgpu()).unwrap();
        let vectors = RandomWeights::new(1).vectors(&layout.final_norm).unwrap();
        let (scales, shifts) = vectors.split_at(config.hidden_size as usize);
        assert!(scales.iter().all(|scale| (0.5..1.5).contains(scale)), "{scales:?}");
        assert_eq!(shifts, vec![0.0; scales.len()]);
    }
}
