//! Which weights are stored in which format, and at which width they are read.

mod check;
mod file;
mod name;

use std::collections::BTreeMap;

pub use name::PlanName;

use super::slot::{Place, Stack};
use crate::quant::{IntFormat, WeightFormat, Width};

/// The format of every weight matrix of a model. Router, norms and biases are always f32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightPlan {
    /// Attention and dense feed-forward projections, and the head.
    pub linear: WeightFormat,
    /// The experts' projections.
    pub experts: WeightFormat,
    /// The embedding table. A tied head shares it when `linear` is the same format.
    pub embedding: WeightFormat,
    /// Blocks, not an encoder's, whose integer codes are read at another width (Mix'n'Match: arXiv 2502.06786, section 4).
    pub block_widths: BTreeMap<usize, Width>,
    /// By block, experts whose integer codes are read at another width than their block's.
    pub expert_widths: BTreeMap<usize, BTreeMap<usize, Width>>,
}

impl WeightPlan {
    /// Every matrix in one format. The embedding table, of which few rows are read, stays a float: f32 beside f32
    /// weights, else f16.
    pub fn uniform(format: WeightFormat) -> Self {
        let embedding = if format == WeightFormat::F32 { WeightFormat::F32 } else { WeightFormat::F16 };
        Self {
            linear: format,
            experts: format,
            embedding,
            block_widths: BTreeMap::new(),
            expert_widths: BTreeMap::new(),
        }
    }

    /// Whether weights are stored as they come, in f32.
    pub fn is_f32(&self) -> bool {
        [self.linear, self.experts, self.embedding].iter().all(|format| *format == WeightFormat::F32)
    }

    /// What a format becomes at a place: in a block, what its width makes of it.
    pub(crate) fn at(&self, place: Place, format: WeightFormat) -> WeightFormat {
        read_at(format, block(place).and_then(|block| self.block_widths.get(&block)))
    }

    /// The format of an expert's projections.
    pub(crate) fn of_expert_at(&self, place: Place, expert: usize) -> WeightFormat {
        let widths = block(place).and_then(|block| self.expert_widths.get(&block));
        read_at(self.at(place, self.experts), widths.and_then(|experts| experts.get(&expert)))
    }
}

/// The block that widths of blocks count: an encoder's have none of their own.
fn block(place: Place) -> Option<usize> {
    place.at().filter(|at| at.stack == Stack::Decoder).map(|at| at.block)
}

/// A format where a width may be given; floats have one width.
fn read_at(format: WeightFormat, width: Option<&Width>) -> WeightFormat {
    match (format, width) {
        (WeightFormat::Int(int), Some(width)) => WeightFormat::Int(at_width(int, *width)),
        _ => format,
    }
}

/// The same format at another width.
fn at_width(int: IntFormat, width: Width) -> IntFormat {
    IntFormat { codes: crate::quant::Codes { width, ..int.codes }, ..int }
}
