//! One matrix, or the vectors of one norm, in device memory.

use std::ops::Range;

use super::Rows;
use crate::fragments::{Codec, InputNorm};
use crate::gpu::Capabilities;
use crate::model::config::{Norm, NormKind, RelativeBias};
use crate::model::slot::Slot;
use crate::quant::WeightFormat;

/// One weight matrix, or one per expert, in device memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Prefix of its tensors' names.
    pub name: String,
    /// How it is stored.
    pub format: WeightFormat,
    /// Rows of one expert's matrix, or of the only one.
    pub rows: u32,
    /// Inputs.
    pub cols: u32,
    /// The experts whose matrices of that shape these are, one after the other; none where it is one matrix.
    pub experts: Vec<u32>,
    /// Whether the model has a bias for every row.
    pub bias: bool,
    /// What its inputs go through first, where it is stored for transformed inputs.
    pub transform: Option<Vectors>,
    /// Where its rows come from; an expert's, all alike.
    pub source: Rows,
    /// Row ranges that each have bindings of their own, counted through all experts, of which each has all rows of some.
    pub shards: Vec<Range<u32>>,
}

/// Numbers that are no matrix, in f32: a scale for each input, and a shift where there is one, of a norm, or of what inputs
/// go through before a product; or stored numbers as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Name of its tensor.
    pub name: String,
    /// What they are part of.
    pub kind: VectorsKind,
    /// Elements of each vector: one for each slot, or one for all.
    pub widths: Vec<u32>,
    /// The norms whose vectors stand one after the other: Q's and K's for heads. Or the weights that all take the
    /// transformed inputs.
    pub slots: Vec<Slot>,
}

/// What scales and shifts are part of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum VectorsKind {
    /// A norm.
    Norm(Norm),
    /// OmniQuant's transformation of a product (arXiv 2308.13137, section 3.3): `(x - delta) / s`, as the scale `1 / s`
    /// and the shift `-delta / s`.
    Transform,
    /// The bias of every distance, `[H, 2 D + 1]` with the largest `D` that has one of its own, from the bias of every bucket.
    RelativeBias {
        /// Its buckets.
        bias: RelativeBias,
        /// Whether keys that come later have buckets of their own.
        both_ways: bool,
        /// Query heads.
        heads: u32,
    },
    /// Stored numbers: sinks of attention, what routers add to scores, and the like.
    Stored,
    /// Numbers of experts, so many below each other.
    Experts {
        /// How many experts there are.
        count: u32,
        /// Experts in a row.
        choices: u32,
    },
}

impl Matrix {
    /// One matrix in one shard.
    pub(super) fn whole(
        name: String,
        format: WeightFormat,
        [rows, cols]: [u32; 2],
        bias: bool,
        source: Rows,
    ) -> Self {
        let shards = std::iter::once(0..rows).collect();
        Self { name, format, rows, cols, experts: Vec::new(), bias, transform: None, source, shards }
    }

    /// What a matrix of some of the experts of a stack is called.
    pub(super) fn name_in(stack: &str, format: WeightFormat) -> String {
        format!("{stack}.{format}")
    }

    /// Whether it is stored as, or within, what another layout calls `other`.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.name == other.name || self.name == Self::name_in(&other.name, self.format)
    }

    /// Rows of all its matrices.
    pub fn all_rows(&self) -> u32 {
        self.rows * self.experts.len().max(1) as u32
    }

    /// The tensor that a row, counted through all experts, comes from, and its row there.
    pub fn locate(&self, row: u32) -> (Slot, u32) {
        let (slot, at) = self.source.locate(row % self.rows);
        match self.experts.get((row / self.rows) as usize) {
            Some(expert) => (Slot { place: slot.place.expert(*expert as usize), ..slot }, at),
            None => (slot, at),
        }
    }

    /// The experts of a shard.
    pub fn shard_experts(&self, shard: usize) -> &[u32] {
        let Range { start, end } = self.shards[shard];
        self.experts.get((start / self.rows) as usize..(end / self.rows) as usize).unwrap_or_default()
    }

    /// Bytes in device memory: words, scales and zero points, biases.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| self.shard_bytes(shard).iter().sum::<u64>()).sum()
    }

    /// Bytes of a shard's words, scales and biases; 0 for what it lacks.
    pub fn shard_bytes(&self, shard: &Range<u32>) -> [u64; 3] {
        let rows = u64::from(shard.end - shard.start);
        let [words, scales] = self.row_bytes();
        [rows * words, rows * scales, if self.has_bias() { rows * 4 } else { 0 }]
    }

    /// Whether every row has a bias on the device: the model's, or what the shift of transformed inputs leaves behind.
    pub fn has_bias(&self) -> bool {
        self.bias || self.transform.is_some()
    }

    /// The tensors that its rows come from, of all experts.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let of_one = self.source.slots();
        let of = |expert: &u32| {
            let place = |slot: &Slot| slot.place.expert(*expert as usize);
            of_one.iter().map(|slot| Slot { place: place(slot), ..*slot }).collect::<Vec<_>>()
        };
        if self.experts.is_empty() { of_one } else { self.experts.iter().flat_map(of).collect() }
    }

    /// Bytes of one row's words and of its scales.
    pub fn row_bytes(&self) -> [u64; 2] {
        let cols = self.cols as usize;
        let scales = 4 * self.format.scale_words(cols) as u64;
        [self.format.row_bytes(cols) as u64, scales]
    }

    /// Bytes that a kernel reads of one row: the planes of its width, and the scales.
    pub fn row_bytes_read(&self) -> u64 {
        // What is read is the same on every device.
        let codec = Codec::of(self.format, &Capabilities::webgpu());
        codec.read_bytes(self.cols) + self.row_bytes()[1]
    }

    /// The same of all rows of one expert's matrix, or of the only one.
    pub fn bytes_read(&self) -> u64 {
        u64::from(self.rows) * self.row_bytes_read()
    }

    /// Names of a shard's tensors: words, scales, biases.
    pub fn shard_names(&self, shard: usize) -> [String; 3] {
        let at = if self.shards.len() > 1 { format!("{}[{shard}]", self.name) } else { self.name.clone() };
        ["words", "scales", "bias"].map(|part| format!("{at}.{part}"))
    }
}

impl Vectors {
    /// Bytes in device memory.
    pub fn bytes(&self) -> u64 {
        self.len() * 4
    }

    /// Elements of all vectors.
    pub fn len(&self) -> u64 {
        u64::from(self.vectors_each()) * self.widths.iter().map(|width| u64::from(*width)).sum::<u64>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of the first vector: the width of the inputs.
    pub fn width(&self) -> u32 {
        self.widths[0]
    }

    /// Vectors of each width: a LayerNorm has a shift for each scale.
    fn vectors_each(&self) -> u32 {
        match self.kind {
            VectorsKind::Transform => 2,
            VectorsKind::Stored | VectorsKind::Experts { .. } | VectorsKind::RelativeBias { .. } => 1,
            VectorsKind::Norm(norm) => match norm.kind {
                NormKind::Rms | NormKind::RmsUnitOffset | NormKind::RmsUnweighted => 1,
                NormKind::LayerNorm | NormKind::LayerNormBias => 2,
            },
        }
    }

    /// What a kernel does with them.
    pub fn applied(&self) -> InputNorm {
        match self.kind {
            VectorsKind::Norm(norm) => norm.kind.into(),
            VectorsKind::Transform => InputNorm::Affine,
            VectorsKind::Stored | VectorsKind::Experts { .. } | VectorsKind::RelativeBias { .. } => {
                InputNorm::None
            }
        }
    }

    /// Added to a norm's mean square or variance.
    pub fn eps(&self) -> f32 {
        match self.kind {
            VectorsKind::Norm(norm) => norm.eps,
            VectorsKind::Transform
            | VectorsKind::Stored
            | VectorsKind::Experts { .. }
            | VectorsKind::RelativeBias { .. } => 0.0,
        }
    }
}
