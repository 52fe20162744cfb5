//! From a description to the matrices of its sub-layers, split so that each fits into a binding.

use super::{
    AttentionLayout, CrossAttentionLayout, EncoderLayout, ExpertStack, ExpertsLayout, FeedForwardLayout,
    LatentAttentionLayout, LayerInputLayout, LayerInputsLayout, Layout, Matrix, MixingLayout, OpLayout,
    ProjectionLayout, Rows, StreamsLayout, SubLayerLayout, Vectors, VectorsKind,
};
use crate::model::config::{
    Attention, Encoder, Experts, FeedForward, LatentAttention, LayerInput, LayerInputs, ModelConfig, Norm,
    Op, SharedExpert, Streams, SubLayer,
};
use crate::model::plan::WeightPlan;
use crate::model::slot::{Place, Role, Slot, Stack, router_parts};
use crate::quant::WeightFormat;
use crate::{Error, Result};

/// Lays a model out for bindings of at most `limit` bytes.
pub(super) fn build(config: &ModelConfig, plan: &WeightPlan, limit: u64) -> Result<Layout> {
    let input_places: Vec<Place> = config.layer_input_places().collect();
    let (inputs, has_encoder) = ((config.layer_inputs, &input_places[..]), config.encoder.is_some());
    let builder =
        Builder { d: config.hidden_size, vocab: config.vocab_size, inputs, plan, limit, has_encoder };
    let table = |name: &str, format, role, bias| {
        let source = stacked(Place::Model, &[(role, config.vocab_size)]);
        let shape = [config.vocab_size, config.hidden_size];
        builder.split(Matrix::whole(name.into(), format, shape, bias, source))
    };
    let embedding = table("embedding", plan.embedding, Role::Embedding, false)?;
    let head = match config.head.tied {
        true if plan.linear == plan.embedding => embedding.clone(),
        true => table("head", plan.linear, Role::Embedding, false)?,
        false => table("head", plan.linear, Role::Head, config.head.bias)?,
    };
    let positions = || {
        let (name, format, rows) = ("positions", WeightFormat::F32, config.context_length);
        let source = stacked(Place::Model, &[(Role::Positions, rows)]);
        builder.split(Matrix::whole(name.into(), format, [rows, config.hidden_size], false, source))
    };
    let positions = config.learned_positions.then(positions).transpose()?;
    let blocks = |stack| {
        let mut blocks = vec![Vec::new(); config.blocks_of(stack).len()];
        for (place, layer) in config.sublayers_of(stack) {
            if let Some(at) = place.at() {
                blocks[at.block].push(builder.sublayer(place, layer)?);
            }
        }
        Ok(blocks)
    };
    let final_norm =
        |place, norm| vectors(place, "final_norm", norm, &[(Role::FinalNorm, config.hidden_size)]);
    let encoder = |encoder: &Encoder| -> Result<EncoderLayout> {
        Ok(EncoderLayout {
            blocks: blocks(Stack::Encoder)?,
            final_norm: final_norm(Place::Encoder, encoder.final_norm),
            relative_bias: relative_bias(config, Stack::Encoder),
        })
    };
    Ok(Layout {
        embedding,
        positions,
        layer_inputs: config.layer_inputs.map(|inputs| builder.layer_inputs(inputs)).transpose()?,
        streams: config.streams.map(|streams| builder.streams(streams, config.blocks.len())).transpose()?,
        encoder: config.encoder.as_ref().map(encoder).transpose()?,
        relative_bias: relative_bias(config, Stack::Decoder),
        blocks: blocks(Stack::Decoder)?,
        final_norm: final_norm(Place::Model, config.final_norm),
        head,
    })
}

/// The table of biases that the attention of a stack shares.
fn relative_bias(config: &ModelConfig, stack: Stack) -> Option<Vectors> {
    let (bias, heads) = (config.relative_bias_of(stack)?, config.biased_heads(stack)?);
    let kind = VectorsKind::RelativeBias { bias, both_ways: stack == Stack::Encoder, heads };
    let width = heads * (2 * bias.max_distance + 1);
    Some(Vectors { kind, ..stored(Place::Model.of(stack), "relative_bias", Role::RelativeBias, width) })
}

struct Builder<'a> {
    /// Width of what is read and written: the residual stream's, or a sub-layer's own.
    d: u32,
    vocab: u32,
    /// What gives layers embeddings of their own, and those that read one.
    inputs: (Option<LayerInputs>, &'a [Place]),
    plan: &'a WeightPlan,
    limit: u64,
    has_encoder: bool,
}

impl Builder<'_> {
    fn sublayer(&self, place: Place, layer: &SubLayer) -> Result<SubLayerLayout> {
        let inner = Builder { d: layer.width.unwrap_or(self.d), ..*self };
        let norm = |part, role, norm: Norm| vectors(place, part, norm, &[(role, self.d)]);
        Ok(SubLayerLayout {
            norm: layer.norm.map(|of| norm("norm", Role::Norm, of)),
            projections: layer.width.map(|width| self.projections(place, width)).transpose()?,
            op: inner.op(place, &layer.op)?,
            post_norm: layer.post_norm.map(|of| norm("post_norm", Role::PostNorm, of)),
            output_scale: layer.output_scale.then(|| stored(place, "output_scale", Role::OutputScale, 1)),
            output_factor: layer.output_factor.unwrap_or(1.0),
            keep_input: layer.keep_input,
        })
    }

    fn layer_inputs(&self, config: LayerInputs) -> Result<LayerInputsLayout> {
        let all = config.width * self.inputs.1.len() as u32;
        let matrix = |part: &str, format, role, [rows, cols]: [u32; 2]| {
            let source = stacked(Place::Model, &[(role, rows)]);
            self.split(Matrix::whole(part.into(), format, [rows, cols], false, source))
        };
        let (table, linear) = (self.plan.embedding, self.plan.linear);
        let norm = &[(Role::LayerInputNorm, config.width)];
        Ok(LayerInputsLayout {
            config,
            table: matrix("layer_table", table, Role::LayerTable, [config.vocab_size, all])?,
            projection: matrix("layer_projection", linear, Role::LayerProjection, [all, self.d])?,
            norm: vectors(Place::Model, "layer_input_norm", config.norm, norm),
        })
    }

    fn streams(&self, config: Streams, blocks: usize) -> Result<StreamsLayout> {
        let (count, d) = (config.count, self.d);
        let matrix = |name: String, format, [rows, cols]: [u32; 2], source| {
            self.split(Matrix::whole(name, format, [rows, cols], false, source))
        };
        let streams = || (1..count as usize).map(Place::Stream);
        let into = streams().map(|place| (Slot::weight(place, Role::StreamProjection), d)).collect();
        let out = |place: Place| {
            let source = stacked(place, &[(Role::StreamJoin, d)]);
            matrix(place.name("stream_join"), self.plan.linear, [d, d], source)
        };
        let mixing = |block| {
            let place = Place::Block(block);
            let parts = [(Role::Prediction, count * count), (Role::Correction, count)];
            let f32 = WeightFormat::F32;
            let router = stacked(place, &[(Role::Router, count)]);
            let mixing = stacked(place, &parts);
            Ok(MixingLayout {
                norm: vectors(place, "router_norm", config.norm, &[(Role::RouterNorm, d)]),
                router: matrix(place.name("router"), f32, [count, d], router)?,
                mixing: matrix(place.name("mixing"), f32, [count * count + count, count], mixing)?,
                scale: config.scaled.then(|| stored(place, "stream_scale", Role::StreamScale, d)),
            })
        };
        let name = "stream_projections".to_owned();
        Ok(StreamsLayout {
            config,
            into: matrix(name, self.plan.linear, [(count - 1) * d, d], Rows::Stacked(into))?,
            out: streams().map(out).collect::<Result<_>>()?,
            mixing: (0..blocks).map(mixing).collect::<Result<_>>()?,
        })
    }

    fn layer_input(&self, place: Place, config: LayerInput) -> Result<LayerInputLayout> {
        let (inputs, places) = self.inputs;
        let width = inputs.map_or(0, |inputs| inputs.width);
        let matrix = |part, role, [rows, cols]: [u32; 2]| {
            let (format, source) = (self.format(place, self.plan.linear), stacked(place, &[(role, rows)]));
            self.split(Matrix::whole(place.name(part), format, [rows, cols], false, source))
        };
        Ok(LayerInputLayout {
            config,
            index: places.iter().take_while(|other| **other != place).count() as u32,
            gate: matrix("input_gate", Role::InputGate, [width, self.d])?,
            projection: matrix("input_projection", Role::InputProjection, [self.d, width])?,
        })
    }

    fn projections(&self, place: Place, width: u32) -> Result<ProjectionLayout> {
        let matrix = |part, role, [rows, cols]: [u32; 2]| {
            let (format, source) = (self.format(place, self.plan.linear), stacked(place, &[(role, rows)]));
            self.split(Matrix::whole(place.name(part), format, [rows, cols], false, source))
        };
        Ok(ProjectionLayout {
            into: matrix("project_in", Role::ProjectIn, [width, self.d])?,
            out: matrix("project_out", Role::ProjectOut, [self.d, width])?,
        })
    }

    fn op(&self, place: Place, op: &Op) -> Result<OpLayout> {
        Ok(match op {
            Op::Attention(config) => OpLayout::Attention(self.attention(place, config)?),
            Op::LatentAttention(config) => OpLayout::LatentAttention(self.latent_attention(place, config)?),
            Op::FeedForward(config) => OpLayout::FeedForward(self.feed_forward(place, *config)?),
            Op::Experts(config) => OpLayout::Experts(self.experts(place, *config)?),
            Op::LayerInput(config) => OpLayout::LayerInput(self.layer_input(place, *config)?),
            Op::CrossAttention(_) if !self.has_encoder => return Err(Error::no_encoder(place)),
            Op::CrossAttention(config) => OpLayout::CrossAttention(self.cross_attention(place, config)?),
            Op::Parallel(branches) => {
                let branch = |(n, layer)| self.sublayer(place.branch(n), layer);
                OpLayout::Parallel(branches.iter().enumerate().map(branch).collect::<Result<_>>()?)
            }
        })
    }

    /// What a format becomes at a place.
    fn format(&self, place: Place, format: WeightFormat) -> WeightFormat {
        self.plan.at(place, format)
    }

    fn format_of_expert(&self, place: Place, expert: u32) -> WeightFormat {
        self.plan.of_expert_at(place, expert as usize)
    }

    fn attention(&self, place: Place, config: &Attention) -> Result<AttentionLayout> {
        let (q_rows, kv_rows) = (config.q_rows(), config.kv_rows());
        let matrix = |part, shape, bias, sources: &[_]| {
            let source = stacked(place, sources);
            let format = self.format(place, self.plan.linear);
            self.split(Matrix::whole(place.name(part), format, shape, bias, source))
        };
        let qkv = [(Role::Q, q_rows), (Role::K, kv_rows), (Role::V, kv_rows)];
        let qkv = match (config.kv_from, config.v_is_k) {
            (Some(_), _) => &qkv[..1],
            (None, true) => &qkv[..2],
            (None, false) => &qkv[..],
        };
        let [q_width, k_width] = config.qk_norm_widths();
        let norms = [(Role::QNorm, q_width), (Role::KNorm, k_width)];
        let norms = &norms[..qkv.len().min(2)];
        Ok(AttentionLayout {
            config: config.clone(),
            qkv: matrix("qkv", [config.qkv_rows(), self.d], config.qkv_bias, qkv)?,
            head_norm: config.qk_norm.map(|norm| vectors(place, "head_norm", norm, norms)),
            sinks: config.sinks.then(|| stored(place, "sinks", Role::Sinks, config.heads)),
            out: matrix("out", [self.d, q_rows], config.out_bias, &[(Role::Out, self.d)])?,
        })
    }

    fn latent_attention(&self, place: Place, config: &LatentAttention) -> Result<LatentAttentionLayout> {
        let matrix = |part, role, [rows, cols]: [u32; 2], bias| {
            let format = self.format(place, self.plan.linear);
            Matrix::whole(place.name(part), format, [rows, cols], bias, stacked(place, &[(role, rows)]))
        };
        // A product of heads reads them all.
        let of_heads = |part, role, rows| {
            let matrix = matrix(part, role, [rows, config.kv_latent], false);
            let bytes = matrix.shard_bytes(&(0..rows)).into_iter().fold(0, u64::max);
            if bytes > self.limit { Err(self.too_large(&matrix, bytes)) } else { Ok(matrix) }
        };
        let norm = |part, role, width| vectors(place, part, config.latent_norm, &[(role, width)]);
        let q_latent = config.q_latent.map(|width| -> Result<_> {
            let down = matrix("q_latent", Role::QLatent, [width, self.d], config.latent_bias);
            Ok((self.split(down)?, norm("q_latent_norm", Role::QLatentNorm, width)))
        });
        let q_inputs = config.q_latent.unwrap_or(self.d);
        let kv_shape = [config.kv_rows(), self.d];
        Ok(LatentAttentionLayout {
            config: config.clone(),
            q_latent: q_latent.transpose()?,
            q: self.split(matrix("q", Role::Q, [config.q_rows(), q_inputs], false))?,
            kv_latent: self.split(matrix("kv_latent", Role::KvLatent, kv_shape, config.latent_bias))?,
            kv_norm: norm("kv_latent_norm", Role::KvLatentNorm, config.kv_latent),
            k: of_heads("latent_k", Role::LatentK, config.k_rows())?,
            v: of_heads("latent_v", Role::LatentV, config.v_rows())?,
            out: self.split(matrix("out", Role::Out, [self.d, config.v_rows()], config.out_bias))?,
        })
    }

    fn cross_attention(&self, place: Place, config: &Attention) -> Result<CrossAttentionLayout> {
        let (q_rows, kv_rows) = (config.q_rows(), config.kv_rows());
        let matrix = |part, cols, bias, sources: &[(Role, u32)]| {
            let rows = sources.iter().map(|(_, rows)| rows).sum();
            let format = self.format(place, self.plan.linear);
            self.split(Matrix::whole(place.name(part), format, [rows, cols], bias, stacked(place, sources)))
        };
        let kv = [(Role::K, kv_rows), (Role::V, kv_rows)];
        Ok(CrossAttentionLayout {
            config: config.clone(),
            q: matrix("q", self.d, config.qkv_bias, &[(Role::Q, q_rows)])?,
            kv: matrix("kv", self.d, config.qkv_bias, &kv[..if config.v_is_k { 1 } else { 2 }])?,
            sinks: config.sinks.then(|| stored(place, "sinks", Role::Sinks, config.heads)),
            out: matrix("out", q_rows, config.out_bias, &[(Role::Out, self.d)])?,
        })
    }

    fn feed_forward(&self, place: Place, config: FeedForward) -> Result<FeedForwardLayout> {
        let [into, down] =
            self.feed_forward_matrices(place, "", config, self.format(place, self.plan.linear));
        Ok(FeedForwardLayout { config, into: self.split(into)?, down: self.split(down)? })
    }

    fn experts(&self, place: Place, config: Experts) -> Result<ExpertsLayout> {
        let topk = config.routing.topk();
        let of_each = |part, role| stored(place, part, role, config.count);
        let shared = |shared: SharedExpert| self.feed_forward(place.shared_expert(), shared.expert);
        let (experts, format) = ("experts.", self.format(place, self.plan.experts));
        let [into, down] = self.feed_forward_matrices(place, experts, config.expert, format);
        let formats: Vec<_> = (0..config.count).map(|expert| self.format_of_expert(place, expert)).collect();
        Ok(ExpertsLayout {
            config,
            router_norm: config
                .router_norm
                .map(|norm| vectors(place, "router_norm", norm, &[(Role::RouterNorm, self.d)])),
            router: self.router(place, &config)?,
            table: config.routing.table_rows(self.vocab).map(|rows| Vectors {
                kind: VectorsKind::Experts { count: config.count, choices: config.top_k },
                ..stored(place, "expert_table", Role::ExpertTable, rows * config.top_k)
            }),
            selection_bias: topk
                .is_some_and(|topk| topk.selection_bias)
                .then(|| of_each("selection_bias", Role::SelectionBias)),
            expert_scale: topk
                .is_some_and(|topk| topk.expert_scale)
                .then(|| of_each("expert_scale", Role::ExpertScale)),
            shared: config.shared.map(shared).transpose()?,
            into: self.stack(into, &formats)?,
            down: self.stack(down, &formats)?,
        })
    }

    /// Everything that reads what a router reads, in one matrix.
    fn router(&self, place: Place, config: &Experts) -> Result<Option<Matrix>> {
        let parts = router_parts(config);
        let rows: u32 = parts.iter().map(|(_, rows)| rows).sum();
        let (shape, source) = ([rows, self.d], stacked(place, &parts));
        let bias = config.router_bias;
        let router = Matrix::whole(place.name("router"), WeightFormat::F32, shape, bias, source);
        (rows > 0).then(|| self.split(router)).transpose()
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

/// The scales, and shifts, of norms with so many elements each.
fn vectors(place: Place, part: &str, norm: Norm, parts: &[(Role, u32)]) -> Vectors {
    let (slots, widths) = parts.iter().map(|(role, width)| (Slot::weight(place, *role), *width)).unzip();
    Vectors { name: place.name(part), kind: VectorsKind::Norm(norm), widths, slots }
}

/// Numbers as they are stored.
fn stored(place: Place, part: &str, role: Role, width: u32) -> Vectors {
    let slots = vec![Slot::weight(place, role)];
    Vectors { name: place.name(part), kind: VectorsKind::Stored, widths: vec![width], slots }
}
