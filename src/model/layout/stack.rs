//! One projection of every expert: a matrix each, of which some may be stored or read otherwise than the rest.

use super::Matrix;
use crate::quant::WeightFormat;

/// One projection of every expert of a sub-layer, `[E, N, K]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertStack {
    /// Prefix of its tensors' names.
    pub name: String,
    /// As stored: one `[E, N, K]` where every width reads the same codes, else one `[e, N, K]` for each format.
    pub matrices: Vec<Matrix>,
    /// The format that each expert is read in.
    pub formats: Vec<WeightFormat>,
}

/// Experts of a stack that one dispatch computes: those of one shard that are read in one format.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertGroup {
    /// Where they are stored, in the format in which they are read.
    pub matrix: Matrix,
    /// Their shard of it.
    pub shard: usize,
    /// The experts.
    pub experts: Vec<u32>,
}

impl ExpertStack {
    /// The experts by dispatch. Every expert is in one group.
    pub fn groups(&self) -> Vec<ExpertGroup> {
        self.matrices.iter().flat_map(|matrix| self.groups_of(matrix)).collect()
    }

    fn groups_of(&self, matrix: &Matrix) -> Vec<ExpertGroup> {
        let mut groups: Vec<ExpertGroup> = Vec::new();
        for shard in 0..matrix.shards.len() {
            let first = groups.len();
            for &expert in matrix.shard_experts(shard) {
                let format = self.formats[expert as usize];
                match groups[first..].iter_mut().find(|group| group.matrix.format == format) {
                    Some(group) => group.experts.push(expert),
                    None => {
                        let matrix = Matrix { format, ..matrix.clone() };
                        groups.push(ExpertGroup { matrix, shard, experts: vec![expert] });
                    }
                }
            }
        }
        groups
    }

    /// Bytes that a kernel reads of an expert's rows.
    pub fn bytes_read(&self, expert: usize) -> u64 {
        // Matrices of a stack differ in format alone.
        Matrix { format: self.formats[expert], ..self.matrices[0].clone() }.bytes_read()
    }
}

impl ExpertGroup {
    /// Of an expert that is not of the group.
    pub const ELSEWHERE: u32 = u32::MAX;

    /// Which of the shard's matrices is each expert's, `[E]`; [`ExpertGroup::ELSEWHERE`] for experts of other groups.
    /// `None` where the group has all experts in order, and there is nothing to look up.
    pub fn places(&self, count: u32) -> Option<Vec<u32>> {
        if self.experts.iter().copied().eq(0..count) {
            return None;
        }
        let stored = self.matrix.shard_experts(self.shard);
        let place = |expert: u32| {
            let is_member = self.experts.contains(&expert);
            let place = stored.iter().position(|stored| is_member && *stored == expert);
            place.map_or(Self::ELSEWHERE, |place| place as u32)
        };
        Some((0..count).map(place).collect())
    }
}
