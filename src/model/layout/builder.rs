//! From a description to the matrices of its sub-layers, split so that each fits into a binding.

use super::{
    AttentionLayout, ExpertStack, ExpertsLayout, FeedForwardLayout, Layout, Matrix, OpLayout, Rows,
    SubLayerLayout, Vectors, VectorsKind,
};
use crate::model::config::{Attention, Experts, FeedForward, ModelConfig, Norm, Op, SubLayer};
use crate::model::plan::WeightPlan;
use crate::model::slot::{Place, Role, Slot};
use crate::quant::WeightFormat;
use crate::{Error, Result};

/// Lays a model out for bindings of at most `limit` bytes.
pub(super) fn build(config: &ModelConfig, plan: &WeightPlan, limit: u64) -> Result<Layout> {
    let builder = Builder { d: config.hidden_size, plan, limit };
    let table = |name: &str, format, role| {
        let source = stacked(Place::Model, &[(role, config.vocab_size)]);
        let shape = [config.vocab_size, config.hidden_size];
        builder.split(Matrix::whole(name.into(), format, shape, false, source))
    };
    let embedding = table("embedding", plan.embedding, Role::Embedding)?;
    let head = match config.head.tied {
        true if plan.linear == plan.embedding => embedding.clone(),
        true => table("head", plan.linear, Role::Embedding)?,
        false => table("head", plan.linear, Role::Head)?,
    };
    let mut blocks = vec![Vec::new(); config.blocks.len()];
    for (block, sublayer, layer) in config.sublayers() {
        blocks[block].push(builder.sublayer(Place::SubLayer { block, sublayer }, layer)?);
    }
    let final_norm =
        vectors(Place::Model, "final_norm", config.final_norm, config.hidden_size, &[Role::FinalNorm]);
    Ok(Layout { embedding, blocks, final_norm, head })
}

struct Builder<'a> {
    d: u32,
    plan: &'a WeightPlan,
    limit: u64,
}

impl Builder<'_> {
    fn sublayer(&self, place: Place, layer: &SubLayer) -> Result<SubLayerLayout> {
        let op = match &layer.op {
            Op::Attention(config) => OpLayout::Attention(self.attention(place, config)?),
            Op::FeedForward(config) => OpLayout::FeedForward(self.feed_forward(place, *config)?),
            Op::Experts(config) => OpLayout::Experts(self.experts(place, *config)?),
        };
        let norm = vectors(place, "norm", layer.norm, self.d, &[Role::Norm]);
        let post_norm =
            layer.post_norm.map(|norm| vectors(place, "post_norm", norm, self.d, &[Role::PostNorm]));
        Ok(SubLayerLayout { norm, op, post_norm })
    }

    /// What a format becomes at a place.
    fn format(&self, place: Place, format: WeightFormat) -> WeightFormat {
        match place {
            Place::SubLayer { block, .. } | Place::Expert { block, .. } => self.plan.in_block(format, block),
            Place::Model => format,
        }
    }

    fn format_of_expert(&self, place: Place, expert: u32) -> WeightFormat {
        match place {
            Place::SubLayer { block, .. } | Place::Expert { block, .. } => {
                self.plan.of_expert(block, expert as usize)
            }
            Place::Model => self.plan.experts,
        }
    }

    fn attention(&self, place: Place, config: &Attention) -> Result<AttentionLayout> {
        let (q_rows, kv_rows) = (config.q_rows(), config.kv_rows());
        let matrix = |part, shape, bias, sources: &[_]| {
            let source = stacked(place, sources);
            let format = self.format(place, self.plan.linear);
            self.split(Matrix::whole(place.name(part), format, shape, bias, source))
        };
        let qkv = [(Role::Q, q_rows), (Role::K, kv_rows), (Role::V, kv_rows)];
        Ok(AttentionLayout {
            config: config.clone(),
            qkv: matrix("qkv", [config.qkv_rows(), self.d], config.qkv_bias, &qkv)?,
            head_norm: config
                .qk_norm
                .map(|norm| vectors(place, "head_norm", norm, config.head_dim, &[Role::QNorm, Role::KNorm])),
            out: matrix("out", [self.d, q_rows], config.out_bias, &[(Role::Out, self.d)])?,
        })
    }

    fn feed_forward(&self, place: Place, config: FeedForward) -> Result<FeedForwardLayout> {
        let [into, down] =
            self.feed_forward_matrices(place, "", config, self.format(place, self.plan.linear));
        Ok(FeedForwardLayout { config, into: self.split(into)?, down: self.split(down)? })
    }

    fn experts(&self, place: Place, config: Experts) -> Result<ExpertsLayout> {
        let source = stacked(place, &[(Role::Router, config.count)]);
        let shape = [config.count, self.d];
        let router = Matrix::whole(place.name("router"), WeightFormat::F32, shape, false, source);
        let (experts, format) = ("experts.", self.format(place, self.plan.experts));
        let [into, down] = self.feed_forward_matrices(place, experts, config.expert, format);
        let formats: Vec<_> = (0..config.count).map(|expert| self.format_of_expert(place, expert)).collect();
        Ok(ExpertsLayout {
            config,
            router: self.split(router)?,
            into: self.stack(into, &formats)?,
            down: self.stack(down, &formats)?,
        })
    }

    /// The matrices of one feed-forward network.
    fn feed_forward_matrices(
        &self,
        place: Place,
        prefix: &str,
        ffn: FeedForward,
        format: WeightFormat,
    ) -> [Matrix; 2] {
        let matrix = |part, shape, source| {
            Matrix::whole(place.name(&format!("{prefix}{part}")), format, shape, ffn.bias, source)
        };
        let (gate, up) = (Slot::weight(place, Role::Gate), Slot::weight(place, Role::Up));
        let into = match ffn.gated {
            true => matrix("gate_up", [2 * ffn.hidden, self.d], Rows::Paired(gate, up)),
            false => matrix("up", [ffn.hidden, self.d], stacked(place, &[(Role::Up, ffn.hidden)])),
        };
        let down = matrix("down", [self.d, ffn.hidden], stacked(place, &[(Role::Down, self.d)]));
        [into, down]
    }

    /// The same matrix in shards of as many rows as a binding holds.
    fn split(&self, matrix: Matrix) -> Result<Matrix> {
        // Kernels store four outputs at a time, so a shard but the last has a multiple of four rows.
        self.split_by(4, matrix)
    }

    /// The same matrix in shards of as many times `step` rows as a binding holds.
    fn split_by(&self, step: u32, matrix: Matrix) -> Result<Matrix> {
        let largest = u64::from(step) * matrix.row_bytes().into_iter().fold(4, u64::max);
        let steps = u32::try_from(self.limit / largest).unwrap_or(u32::MAX);
        if steps == 0 {
            return Err(self.too_large(&matrix, largest));
        }
        let (rows, per_shard) = (matrix.all_rows(), steps.saturating_mul(step));
        let starts = (0..rows).step_by(per_shard as usize);
        let shards = starts.map(|start| start..rows.min(start.saturating_add(per_shard))).collect();
        Ok(Matrix { shards, ..matrix })
    }

    /// A matrix like this one for each expert, in shards of as many experts as a binding holds. Where every width reads
    /// the same codes they are stored together, else by format.
    fn stack(&self, one: Matrix, formats: &[WeightFormat]) -> Result<ExpertStack> {
        let mut stored: Vec<Matrix> = Vec::new();
        for (expert, format) in (0..).zip(formats) {
            match stored.iter_mut().find(|matrix| matrix.format.can_serve(*format)) {
                Some(matrix) => matrix.experts.push(expert),
                None => {
                    let format = if one.format.can_serve(*format) { one.format } else { *format };
                    stored.push(Matrix { format, experts: vec![expert], ..one.clone() });
                }
            }
        }
        let is_one = stored.len() == 1;
        let named = |matrix: Matrix| match is_one {
            true => matrix,
            false => Matrix { name: Matrix::name_in(&matrix.name, matrix.format), ..matrix },
        };
        let split = |matrix| self.split_by(one.rows, named(matrix));
        Ok(ExpertStack {
            name: one.name.clone(),
            matrices: stored.into_iter().map(split).collect::<Result<_>>()?,
            formats: formats.to_vec(),
        })
    }

    fn too_large(&self, matrix: &Matrix, needed_bytes: u64) -> Error {
        let what = format!("one binding of '{}'", matrix.name);
        Error::Memory { what, needed_bytes, available_bytes: self.limit }
    }
}

/// Whole matrices below each other, each with its rows.
fn stacked(place: Place, parts: &[(Role, u32)]) -> Rows {
    Rows::Stacked(parts.iter().map(|(role, rows)| (Slot::weight(place, *role), *rows)).collect())
}

fn vectors(place: Place, part: &str, norm: Norm, width: u32, roles: &[Role]) -> Vectors {
    let slots = roles.iter().map(|role| Slot::weight(place, *role)).collect();
    Vectors { name: place.name(part), kind: VectorsKind::Norm(norm), width, slots }
}
