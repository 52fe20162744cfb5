//! A model's weights as kernels read them: matrices fused, formats chosen, large ones split over bindings.

use std::ops::Range;

use super::config::{Attention, Experts, FeedForward, ModelConfig, Norm, Op, SubLayer};
use super::plan::WeightPlan;
use super::slot::{Place, Role, Slot};
use crate::gpu::Capabilities;
use crate::quant::WeightFormat;
use crate::{Error, Result};

/// Where the rows of a fused matrix come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Matrices below each other: Q, K, V.
    Stacked(Vec<(Slot, u32)>),
    /// Rows in turn from two matrices: gate and up, so that the two of an output are neighbours.
    Paired(Slot, Slot),
    /// The same rows of one expert after the other.
    Experts(Box<Rows>, u32),
}

/// One weight matrix, or one per expert, in device memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Prefix of its tensors' names.
    pub name: String,
    /// How it is stored.
    pub format: WeightFormat,
    /// Rows of one expert's matrix, or of the only one.
    pub rows: u32,
    /// Inputs.
    pub cols: u32,
    /// Matrices of that shape, one after the other.
    pub experts: u32,
    /// Whether every row has a bias.
    pub bias: bool,
    /// Where its rows come from.
    pub source: Rows,
    /// Row ranges that each have bindings of their own.
    pub shards: Vec<Range<u32>>,
}

/// A norm's scale, and its shift where it has one, in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Name of its tensor.
    pub name: String,
    /// Which norm.
    pub norm: Norm,
    /// Elements of one vector.
    pub width: u32,
    /// The norms whose vectors stand one after the other: Q's and K's for heads.
    pub slots: Vec<Slot>,
}

/// The weights of one sub-layer.
#[derive(Clone, Debug, PartialEq)]
pub struct SubLayerLayout {
    /// The norm before it.
    pub norm: Vectors,
    /// What it computes with.
    pub op: OpLayout,
    /// The norm after it.
    pub post_norm: Option<Vectors>,
}

/// What a sub-layer computes with.
#[derive(Clone, Debug, PartialEq)]
pub enum OpLayout {
    /// Attention.
    Attention {
        /// Q, K and V in one, `[(H + 2G) h, d]`.
        qkv: Matrix,
        /// The norm of Q's and K's heads.
        head_norm: Option<Vectors>,
        /// `[d, H h]`.
        out: Matrix,
    },
    /// Dense feed-forward.
    FeedForward(FeedForwardLayout),
    /// Experts.
    Experts {
        /// `[E, d]`, always f32.
        router: Matrix,
        /// The experts.
        experts: FeedForwardLayout,
    },
}

/// A feed-forward network, or one per expert.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForwardLayout {
    /// Gate and up in turn, `[2 f, d]`, or up alone, `[f, d]`.
    pub into: Matrix,
    /// `[d, f]`.
    pub down: Matrix,
}

/// The weights of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// `[V, d]`.
    pub embedding: Matrix,
    /// Sub-layers by block.
    pub blocks: Vec<Vec<SubLayerLayout>>,
    /// The norm before the head.
    pub final_norm: Vectors,
    /// `[V, d]`; the embedding itself when it is tied and stored alike.
    pub head: Matrix,
}

impl Layout {
    /// Lays a model out for a device.
    ///
    /// # Errors
    /// [`Error::Memory`] for an expert tensor or a single row beyond the device's largest binding;
    /// [`Error::Unsupported`] for a format no kernel reads.
    pub fn new(config: &ModelConfig, plan: &WeightPlan, capabilities: &Capabilities) -> Result<Self> {
        for format in [plan.linear, plan.experts, plan.embedding] {
            format.validate()?;
        }
        let builder = Builder { d: config.hidden_size, plan, limit: capabilities.max_tensor_bytes() };
        let table = |role| Rows::Stacked(vec![(Slot::weight(Place::Model, role), config.vocab_size)]);
        let (vocab, d) = (config.vocab_size, config.hidden_size);
        let embedding =
            builder.matrix("embedding", plan.embedding, [vocab, d], false, table(Role::Embedding))?;
        let head = match config.head.tied {
            true if plan.linear == plan.embedding => embedding.clone(),
            true => builder.matrix("head", plan.linear, [vocab, d], false, table(Role::Embedding))?,
            false => builder.matrix("head", plan.linear, [vocab, d], false, table(Role::Head))?,
        };
        let mut blocks = vec![Vec::new(); config.blocks.len()];
        for (block, sublayer, layer) in config.sublayers() {
            blocks[block].push(builder.sublayer(Place::SubLayer { block, sublayer }, layer)?);
        }
        let final_norm = builder.norm("final_norm", config.final_norm, d, Place::Model, &[Role::FinalNorm]);
        Ok(Self { embedding, blocks, final_norm, head })
    }

    /// Every matrix once.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let inner = self.blocks.iter().flatten().flat_map(|layer| match &layer.op {
            OpLayout::Attention { qkv, out, .. } => vec![qkv, out],
            OpLayout::FeedForward(ffn) => vec![&ffn.into, &ffn.down],
            OpLayout::Experts { router, experts } => vec![router, &experts.into, &experts.down],
        });
        let head = (self.head.name != self.embedding.name).then_some(&self.head);
        [&self.embedding].into_iter().chain(inner).chain(head)
    }

    /// Every norm.
    pub fn norms(&self) -> impl Iterator<Item = &Vectors> {
        let inner = self.blocks.iter().flatten().flat_map(|layer| {
            let head_norm = match &layer.op {
                OpLayout::Attention { head_norm, .. } => head_norm.as_ref(),
                _ => None,
            };
            [Some(&layer.norm), head_norm, layer.post_norm.as_ref()].into_iter().flatten()
        });
        inner.chain([&self.final_norm])
    }

    /// Bytes of all weights in device memory.
    pub fn bytes(&self) -> u64 {
        self.matrices().map(Matrix::bytes).sum::<u64>() + self.norms().map(Vectors::bytes).sum::<u64>()
    }
}

impl Matrix {
    /// Bytes in device memory: words, scales and zero points, biases.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| self.shard_bytes(shard).iter().sum::<u64>()).sum()
    }

    /// Bytes of a shard's words, scales and biases; 0 for what it lacks.
    pub fn shard_bytes(&self, shard: &Range<u32>) -> [u64; 3] {
        let rows = u64::from(shard.end - shard.start) * u64::from(self.experts);
        let [words, scales] = self.row_bytes();
        [rows * words, rows * scales, if self.bias { rows * 4 } else { 0 }]
    }

    /// Bytes of one row's words and of its scales.
    pub fn row_bytes(&self) -> [u64; 2] {
        let cols = self.cols as usize;
        let scales = match self.format {
            WeightFormat::F32 | WeightFormat::F16 => 0,
            WeightFormat::Int(int) => int.blocks(cols) as u64 * 8,
        };
        [self.format.row_bytes(cols) as u64, scales]
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
        u64::from(self.vectors()) * u64::from(self.width) * 4
    }

    /// Vectors of that width: a LayerNorm has a shift for each scale.
    pub fn vectors(&self) -> u32 {
        use super::config::NormKind::{LayerNorm, LayerNormBias};
        let each = if matches!(self.norm.kind, LayerNorm | LayerNormBias) { 2 } else { 1 };
        each * self.slots.len() as u32
    }
}

impl Rows {
    /// The tensor that row `row` comes from, and its row there.
    pub fn locate(&self, row: u32) -> (Slot, u32) {
        match self {
            Self::Stacked(parts) => {
                let mut row = row;
                for (slot, rows) in parts {
                    if row < *rows {
                        return (*slot, row);
                    }
                    row -= rows;
                }
                // Only a row beyond the matrix gets here; it belongs to no tensor that could hold it.
                (parts[parts.len() - 1].0, u32::MAX)
            }
            Self::Paired(even, odd) => (if row.is_multiple_of(2) { *even } else { *odd }, row / 2),
            Self::Experts(inner, rows) => {
                let (slot, at) = inner.locate(row % rows);
                (Slot { place: slot.place.expert((row / rows) as usize), ..slot }, at)
            }
        }
    }

    /// Rows of the tensor a slot names.
    pub fn rows_of(&self, slot: Slot, total: u32) -> u32 {
        match self {
            Self::Stacked(parts) => {
                let found = parts.iter().find(|(part, _)| part.role == slot.role);
                found.map_or(total, |(_, rows)| *rows)
            }
            Self::Paired(..) => total / 2,
            Self::Experts(inner, rows) => inner.rows_of(slot, *rows),
        }
    }
}

struct Builder<'a> {
    d: u32,
    plan: &'a WeightPlan,
    limit: u64,
}

impl Builder<'_> {
    fn sublayer(&self, place: Place, layer: &SubLayer) -> Result<SubLayerLayout> {
        let Place::SubLayer { block, sublayer } = place else {
            return Err(Error::config("blocks", "a sub-layer", "none"));
        };
        let at = format!("blocks.{block}.sublayers.{sublayer}");
        let op = match &layer.op {
            Op::Attention(attention) => self.attention(&at, place, attention)?,
            Op::FeedForward(ffn) => {
                OpLayout::FeedForward(self.feed_forward(&at, place, ffn, self.plan.linear, None)?)
            }
            Op::Experts(experts) => self.experts(&at, place, experts)?,
        };
        let norm = self.norm(&format!("{at}.norm"), layer.norm, self.d, place, &[Role::Norm]);
        let post_norm = layer
            .post_norm
            .map(|norm| self.norm(&format!("{at}.post_norm"), norm, self.d, place, &[Role::PostNorm]));
        Ok(SubLayerLayout { norm, op, post_norm })
    }

    fn attention(&self, at: &str, place: Place, attention: &Attention) -> Result<OpLayout> {
        let q_rows = attention.heads * attention.head_dim;
        let kv_rows = attention.kv_heads * attention.head_dim;
        let rows = [(Role::Q, q_rows), (Role::K, kv_rows), (Role::V, kv_rows)]
            .map(|(role, rows)| (Slot::weight(place, role), rows));
        let format = self.plan.linear;
        let qkv_shape = [attention.qkv_rows(), self.d];
        let out = Rows::Stacked(vec![(Slot::weight(place, Role::Out), self.d)]);
        Ok(OpLayout::Attention {
            qkv: self.matrix(
                &format!("{at}.qkv"),
                format,
                qkv_shape,
                attention.qkv_bias,
                Rows::Stacked(rows.to_vec()),
            )?,
            head_norm: attention.qk_norm.map(|norm| {
                let roles = [Role::QNorm, Role::KNorm];
                self.norm(&format!("{at}.head_norm"), norm, attention.head_dim, place, &roles)
            }),
            out: self.matrix(&format!("{at}.out"), format, [self.d, q_rows], attention.out_bias, out)?,
        })
    }

    fn feed_forward(
        &self,
        at: &str,
        place: Place,
        ffn: &FeedForward,
        format: WeightFormat,
        experts: Option<u32>,
    ) -> Result<FeedForwardLayout> {
        let (gate, up) = (Slot::weight(place, Role::Gate), Slot::weight(place, Role::Up));
        let (into_rows, into) = match ffn.gated {
            true => (2 * ffn.hidden, Rows::Paired(gate, up)),
            false => (ffn.hidden, Rows::Stacked(vec![(up, ffn.hidden)])),
        };
        let down = Rows::Stacked(vec![(Slot::weight(place, Role::Down), self.d)]);
        let matrix = |part: &str, shape: [u32; 2], rows: Rows| match experts {
            None => self.matrix(&format!("{at}.{part}"), format, shape, ffn.bias, rows),
            Some(experts) => {
                self.expert_matrix(&format!("{at}.experts.{part}"), format, shape, ffn.bias, rows, experts)
            }
        };
        let name = if ffn.gated { "gate_up" } else { "up" };
        Ok(FeedForwardLayout {
            into: matrix(name, [into_rows, self.d], into)?,
            down: matrix("down", [self.d, ffn.hidden], down)?,
        })
    }

    fn experts(&self, at: &str, place: Place, experts: &Experts) -> Result<OpLayout> {
        let router = Rows::Stacked(vec![(Slot::weight(place, Role::Router), experts.count)]);
        let shape = [experts.count, self.d];
        let each = self.feed_forward(at, place, &experts.expert, self.plan.experts, Some(experts.count))?;
        Ok(OpLayout::Experts {
            router: self.matrix(&format!("{at}.router"), WeightFormat::F32, shape, false, router)?,
            experts: each,
        })
    }

    fn norm(&self, name: &str, norm: Norm, width: u32, place: Place, roles: &[Role]) -> Vectors {
        let slots = roles.iter().map(|role| Slot::weight(place, *role)).collect();
        Vectors { name: name.into(), norm, width, slots }
    }

    /// One matrix, split into shards of as many rows as a binding holds.
    fn matrix(
        &self,
        name: &str,
        format: WeightFormat,
        [rows, cols]: [u32; 2],
        bias: bool,
        source: Rows,
    ) -> Result<Matrix> {
        let mut matrix =
            Matrix { name: name.into(), format, rows, cols, experts: 1, bias, source, shards: vec![] };
        let largest = matrix.row_bytes().into_iter().fold(4, u64::max);
        // Kernels store four outputs at a time, so a shard but the last has a multiple of four rows.
        let per_shard = u32::try_from(self.limit / largest / 4 * 4).unwrap_or(u32::MAX - 3);
        if per_shard == 0 {
            return Err(self.too_large(name, 4 * largest));
        }
        let starts = (0..rows).step_by(per_shard as usize);
        matrix.shards = starts.map(|start| start..rows.min(start.saturating_add(per_shard))).collect();
        Ok(matrix)
    }

    /// A matrix per expert in one binding.
    fn expert_matrix(
        &self,
        name: &str,
        format: WeightFormat,
        [rows, cols]: [u32; 2],
        bias: bool,
        inner: Rows,
        experts: u32,
    ) -> Result<Matrix> {
        let source = Rows::Experts(Box::new(inner), rows);
        let shards = std::iter::once(0..rows).collect();
        let matrix = Matrix { name: name.into(), format, rows, cols, experts, bias, source, shards };
        let largest = matrix.shard_bytes(&(0..rows)).into_iter().fold(0, u64::max);
        if largest > self.limit {
            return Err(self.too_large(name, largest));
        }
        Ok(matrix)
    }

    fn too_large(&self, name: &str, needed_bytes: u64) -> Error {
        Error::Memory { what: format!("one binding of '{name}'"), needed_bytes, available_bytes: self.limit }
    }
}
