//! Weights from what a checkpoint holds.

use super::{
    AttentionWeights, EncoderWeights, ExpertsWeights, FeedForwardWeights, LatentAttentionWeights,
    LayerInputWeights, LayerInputsWeights, Linear, MixingWeights, NormWeights, OpWeights, ProjectionWeights,
    StreamsWeights, SubLayerWeights, Transform, Weights,
};
use crate::model::config::{
    Attention, Experts, FeedForward, LatentAttention, LayerInputs, ModelConfig, Norm, NormKind, Op, Routing,
    Streams, SubLayer,
};
use crate::model::plan::WeightPlan;
use crate::model::slot::{Part, Place, Role, Slot, Stack};
use crate::quant::{Clip, PackedMatrix, WeightFormat};
use crate::reference::matmul::matmul;
use crate::tuning::ProductPath;
use crate::{Error, Result};

impl Weights {
    /// Asks `fetch` for the f32 values of every slot the model has, with the shape expected of them.
    ///
    /// Projections, experts, embedding and head are packed in the plan's formats and unpacked again, so that they
    /// are what a kernel reads; router, norms and biases stay as they are. A tied head is the table as fetched,
    /// packed in the plan's `linear` format. Of the paths, the integer one rounds the inputs of codes to codes; the others
    /// are f32 here.
    ///
    /// # Errors
    /// Whatever `fetch` returns, and those of [`PackedMatrix::pack`]; [`crate::Error::Unsupported`] for widths of blocks
    /// and experts that the model does not have, and for cross-attention without an encoder.
    pub fn build(
        config: &ModelConfig,
        plan: &WeightPlan,
        path: ProductPath,
        fetch: impl FnMut(Slot, &[usize]) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        Self::build_learned(config, plan, path, fetch, |_, _| Ok(None))
    }

    /// The same, and matrices that are stored as codes are quantized with what `learned` has beside their weights:
    /// [`Part::Gamma`] and [`Part::Beta`], `[out]` or `[out, blocks]`; [`Part::Delta`] and [`Part::Scale`], `[in]`. It is
    /// told which shapes there may be, and returns values of no other.
    ///
    /// # Errors
    /// Whatever `fetch` and `learned` return, and those of [`PackedMatrix::pack_clipped`]; [`crate::Error::Unsupported`]
    /// for widths of blocks and experts that the model does not have, and for cross-attention without an encoder.
    pub fn build_learned(
        config: &ModelConfig,
        plan: &WeightPlan,
        path: ProductPath,
        fetch: impl FnMut(Slot, &[usize]) -> Result<Vec<f32>>,
        learned: impl FnMut(Slot, &[Vec<usize>]) -> Result<Option<Vec<f32>>>,
    ) -> Result<Self> {
        plan.check(config)?;
        let (vocab, d) = (config.vocab_size as usize, config.hidden_size as usize);
        let (input_width, has_encoder) =
            (config.layer_inputs.map_or(0, |inputs| inputs.width as usize), config.encoder.is_some());
        let mut builder = Builder { d, vocab, input_width, plan, path, has_encoder, fetch, learned };
        let role = if config.head.tied { Role::Embedding } else { Role::Head };
        let head = builder.linear(plan.linear, Place::Model, role, [vocab, d], config.head.bias)?;
        let embedding = builder.linear(plan.embedding, Place::Model, Role::Embedding, [vocab, d], false)?;
        let positions = config.learned_positions.then(|| {
            let shape = [config.context_length as usize, d];
            (builder.fetch)(Slot::weight(Place::Model, Role::Positions), &shape)
        });
        let count = config.layer_input_places().count();
        let layer_inputs =
            config.layer_inputs.map(|inputs| builder.layer_inputs(inputs, count)).transpose()?;
        let mut encoder = None;
        if let Some(config_of) = &config.encoder {
            encoder = Some(EncoderWeights {
                relative_bias: builder.relative_bias(config, Stack::Encoder)?,
                blocks: builder.blocks(config, Stack::Encoder)?,
                final_norm: builder.norm(Place::Encoder, Role::FinalNorm, config_of.final_norm, d)?,
            });
        }
        Ok(Self {
            embedding: embedding.weight,
            positions: positions.transpose()?,
            layer_inputs,
            streams: config
                .streams
                .map(|streams| builder.streams(streams, config.blocks.len()))
                .transpose()?,
            head,
            encoder,
            relative_bias: builder.relative_bias(config, Stack::Decoder)?,
            blocks: builder.blocks(config, Stack::Decoder)?,
            final_norm: builder.norm(Place::Model, Role::FinalNorm, config.final_norm, d)?,
        })
    }
}

struct Builder<'a, F, L> {
    /// Width of what is read and written: the residual stream's, or a sub-layer's own.
    d: usize,
    vocab: usize,
    /// Width of each layer's own embedding, `p`.
    input_width: usize,
    plan: &'a WeightPlan,
    path: ProductPath,
    has_encoder: bool,
    fetch: F,
    learned: L,
}

impl<F, L> Builder<'_, F, L>
where
    F: FnMut(Slot, &[usize]) -> Result<Vec<f32>>,
    L: FnMut(Slot, &[Vec<usize>]) -> Result<Option<Vec<f32>>>,
{
    fn blocks(&mut self, config: &ModelConfig, stack: Stack) -> Result<Vec<Vec<SubLayerWeights>>> {
        let mut blocks = vec![Vec::new(); config.blocks_of(stack).len()];
        for (place, layer) in config.sublayers_of(stack) {
            if let Some(at) = place.at() {
                blocks[at.block].push(self.sublayer(place, layer)?);
            }
        }
        Ok(blocks)
    }

    fn relative_bias(&mut self, config: &ModelConfig, stack: Stack) -> Result<Option<Vec<f32>>> {
        let (Some(bias), Some(heads)) = (config.relative_bias_of(stack), config.biased_heads(stack)) else {
            return Ok(None);
        };
        let slot = Slot::weight(Place::Model.of(stack), Role::RelativeBias);
        (self.fetch)(slot, &[bias.buckets as usize, heads as usize]).map(Some)
    }

    fn sublayer(&mut self, place: Place, layer: &SubLayer) -> Result<SubLayerWeights> {
        let projections = layer.width.map(|width| self.projections(place, width as usize));
        let d = self.d;
        self.d = layer.width.map_or(d, |width| width as usize);
        let op = self.op(place, &layer.op)?;
        self.d = d;
        let scale = layer.output_scale.then(|| self.stored(place, Role::OutputScale, 1)).transpose()?;
        Ok(SubLayerWeights {
            norm: self.norm_if(place, Role::Norm, layer.norm)?,
            projections: projections.transpose()?,
            op,
            post_norm: self.norm_if(place, Role::PostNorm, layer.post_norm)?,
            output_scale: scale.map(|scale| scale[0]),
        })
    }

    fn layer_inputs(&mut self, inputs: LayerInputs, count: usize) -> Result<LayerInputsWeights> {
        let (all, place) = (self.input_width * count, Place::Model);
        let (embedding, linear) = (self.plan.embedding, self.plan.linear);
        let table = [inputs.vocab_size as usize, all];
        Ok(LayerInputsWeights {
            table: self.linear(embedding, place, Role::LayerTable, table, false)?.weight,
            projection: self.linear(linear, place, Role::LayerProjection, [all, self.d], false)?,
            norm: self.norm(place, Role::LayerInputNorm, inputs.norm, self.input_width)?,
        })
    }

    fn streams(&mut self, config: Streams, blocks: usize) -> Result<StreamsWeights> {
        let (linear, d) = (self.plan.linear, self.d);
        let mut each = |role| {
            let places = (1..config.count as usize).map(Place::Stream);
            places.map(|place| self.linear(linear, place, role, [d, d], false)).collect::<Result<Vec<_>>>()
        };
        Ok(StreamsWeights {
            into: each(Role::StreamProjection)?,
            out: each(Role::StreamJoin)?,
            mixing: (0..blocks).map(|block| self.mixing(config, block)).collect::<Result<_>>()?,
        })
    }

    fn mixing(&mut self, config: Streams, block: usize) -> Result<MixingWeights> {
        let (place, count, d) = (Place::Block(block), config.count as usize, self.d);
        let mut matrix = |role, shape: [usize; 2]| (self.fetch)(Slot::weight(place, role), &shape);
        Ok(MixingWeights {
            router: matrix(Role::Router, [count, d])?,
            prediction: matrix(Role::Prediction, [count * count, count])?,
            correction: matrix(Role::Correction, [count, count])?,
            norm: self.norm(place, Role::RouterNorm, config.norm, d)?,
            scale: config.scaled.then(|| self.stored(place, Role::StreamScale, d)).transpose()?,
        })
    }

    fn projections(&mut self, place: Place, width: usize) -> Result<ProjectionWeights> {
        let (format, d) = (self.plan.at(place, self.plan.linear), self.d);
        Ok(ProjectionWeights {
            into: self.linear(format, place, Role::ProjectIn, [width, d], false)?,
            out: self.linear(format, place, Role::ProjectOut, [d, width], false)?,
        })
    }

    fn op(&mut self, place: Place, op: &Op) -> Result<OpWeights> {
        let format = self.plan.at(place, self.plan.linear);
        Ok(match op {
            Op::Attention(attention) => OpWeights::Attention(self.attention(format, place, attention)?),
            Op::LatentAttention(attention) => {
                OpWeights::LatentAttention(self.latent_attention(format, place, attention)?)
            }
            Op::FeedForward(ffn) => OpWeights::FeedForward(self.feed_forward(format, place, ffn)?),
            Op::Experts(experts) => OpWeights::Experts(self.experts(format, place, experts)?),
            Op::LayerInput(_) => {
                let (d, p) = (self.d, self.input_width);
                OpWeights::LayerInput(LayerInputWeights {
                    gate: self.linear(format, place, Role::InputGate, [p, d], false)?,
                    projection: self.linear(format, place, Role::InputProjection, [d, p], false)?,
                })
            }
            Op::CrossAttention(_) if !self.has_encoder => return Err(Error::no_encoder(place)),
            Op::CrossAttention(cross) => OpWeights::CrossAttention(self.attention(format, place, cross)?),
            Op::Parallel(branches) => {
                let branch = |(n, branch)| self.sublayer(place.branch(n), branch);
                OpWeights::Parallel(branches.iter().enumerate().map(branch).collect::<Result<_>>()?)
            }
        })
    }

    fn attention(
        &mut self,
        format: WeightFormat,
        place: Place,
        attention: &Attention,
    ) -> Result<AttentionWeights> {
        let (d, h) = (self.d, attention.head_dim as usize);
        let (q, kv) = (attention.heads as usize * h, attention.kv_heads as usize * h);
        let has_keys = attention.kv_from.is_none();
        let mut qk_norm = |role, width: u32| {
            let norm = attention.qk_norm.filter(|_| has_keys || role == Role::QNorm);
            norm.map(|norm| self.norm(place, role, norm, width as usize)).transpose()
        };
        let [q_width, k_width] = attention.qk_norm_widths();
        Ok(AttentionWeights {
            q_norm: qk_norm(Role::QNorm, q_width)?,
            k_norm: qk_norm(Role::KNorm, k_width)?,
            sinks: attention
                .sinks
                .then(|| self.stored(place, Role::Sinks, attention.heads as usize))
                .transpose()?,
            q: self.linear(format, place, Role::Q, [q, d], attention.qkv_bias)?,
            k: has_keys
                .then(|| self.linear(format, place, Role::K, [kv, d], attention.qkv_bias))
                .transpose()?,
            v: (has_keys && !attention.v_is_k)
                .then(|| self.linear(format, place, Role::V, [kv, d], attention.qkv_bias))
                .transpose()?,
            out: self.linear(format, place, Role::Out, [d, q], attention.out_bias)?,
        })
    }

    fn experts(&mut self, format: WeightFormat, place: Place, config: &Experts) -> Result<ExpertsWeights> {
        let (count, d) = (config.count as usize, self.d);
        let topk = config.routing.topk();
        let router = config
            .routing
            .has_router()
            .then(|| self.linear(WeightFormat::F32, place, Role::Router, [count, d], config.router_bias));
        let router = router.transpose()?;
        let mut stored = |shape: Option<Vec<usize>>, role| {
            shape.map(|shape| (self.fetch)(Slot::weight(place, role), &shape)).transpose()
        };
        let of_each = |is_there: bool| is_there.then(|| vec![count]);
        let groups = match config.routing {
            Routing::Hierarchical(rule) => Some(vec![rule.groups as usize, d]),
            _ => None,
        };
        let rows = config.routing.table_rows(self.vocab as u32);
        let table = stored(rows.map(|rows| vec![rows as usize, config.top_k as usize]), Role::ExpertTable)?;
        let is_noisy = topk.is_some_and(|topk| topk.noise);
        let noise_router = stored(is_noisy.then(|| vec![count, d]), Role::NoiseRouter)?;
        let group_router = stored(groups, Role::GroupRouter)?;
        let selection_bias =
            stored(of_each(topk.is_some_and(|topk| topk.selection_bias)), Role::SelectionBias)?;
        let expert_scale = stored(of_each(topk.is_some_and(|topk| topk.expert_scale)), Role::ExpertScale)?;
        let is_gated = config.shared.is_some_and(|shared| shared.gated);
        let shared_gate = stored(is_gated.then(|| vec![1, d]), Role::SharedGate)?;
        let shared =
            config.shared.map(|shared| self.feed_forward(format, place.shared_expert(), &shared.expert));
        let shared = shared.transpose()?;
        let mut expert = |expert: usize| {
            let format = self.plan.of_expert_at(place, expert);
            self.feed_forward(format, place.expert(expert), &config.expert)
        };
        Ok(ExpertsWeights {
            experts: (0..count).map(&mut expert).collect::<Result<_>>()?,
            router_norm: self.norm_if(place, Role::RouterNorm, config.router_norm)?,
            router,
            noise_router,
            group_router,
            table,
            selection_bias,
            expert_scale,
            shared,
            shared_gate,
        })
    }

    /// Latents that meet keys and values never become codes.
    fn latent_attention(
        &mut self,
        format: WeightFormat,
        place: Place,
        attention: &LatentAttention,
    ) -> Result<LatentAttentionWeights> {
        let (d, rows) = (self.d, |rows: u32| rows as usize);
        let (latent, norm) = (rows(attention.kv_latent), attention.latent_norm);
        let q_latent = match attention.q_latent.map(rows) {
            Some(width) => {
                let down = self.linear(format, place, Role::QLatent, [width, d], attention.latent_bias)?;
                Some((down, self.norm(place, Role::QLatentNorm, norm, width)?))
            }
            None => None,
        };
        let q_inputs = attention.q_latent.map_or(d, rows);
        let kv_shape = [rows(attention.kv_rows()), d];
        let k = self.linear(format, place, Role::LatentK, [rows(attention.k_rows()), latent], false)?;
        let v = self.linear(format, place, Role::LatentV, [rows(attention.v_rows()), latent], false)?;
        Ok(LatentAttentionWeights {
            q_latent,
            q: self.linear(format, place, Role::Q, [rows(attention.q_rows()), q_inputs], false)?,
            kv_latent: self.linear(format, place, Role::KvLatent, kv_shape, attention.latent_bias)?,
            kv_norm: self.norm(place, Role::KvLatentNorm, norm, latent)?,
            k: Linear { in_i8: false, ..k },
            v: Linear { in_i8: false, ..v },
            out: self.linear(format, place, Role::Out, [d, rows(attention.v_rows())], attention.out_bias)?,
        })
    }

    /// Numbers as they are.
    fn stored(&mut self, place: Place, role: Role, count: usize) -> Result<Vec<f32>> {
        (self.fetch)(Slot::weight(place, role), &[count])
    }

    /// A norm of what is read or written, if there is one.
    fn norm_if(&mut self, place: Place, role: Role, norm: Option<Norm>) -> Result<Option<NormWeights>> {
        norm.map(|norm| self.norm(place, role, norm, self.d)).transpose()
    }

    fn feed_forward(
        &mut self,
        format: WeightFormat,
        place: Place,
        ffn: &FeedForward,
    ) -> Result<FeedForwardWeights> {
        let (d, f) = (self.d, ffn.hidden as usize);
        let gate = ffn.gated.then(|| self.linear(format, place, Role::Gate, [f, d], ffn.bias));
        Ok(FeedForwardWeights {
            gate: gate.transpose()?,
            up: self.linear(format, place, Role::Up, [f, d], ffn.bias)?,
            down: self.linear(format, place, Role::Down, [d, f], ffn.bias)?,
        })
    }

    fn linear(
        &mut self,
        format: WeightFormat,
        place: Place,
        role: Role,
        shape: [usize; 2],
        bias: bool,
    ) -> Result<Linear> {
        let slot = Slot::weight(place, role);
        let mut weight = (self.fetch)(slot, &shape)?;
        let mut bias = bias.then(|| (self.fetch)(slot.its_bias(), &shape[..1])).transpose()?;
        let WeightFormat::Int(int) = format else {
            let weight = PackedMatrix::pack(format, shape[0], shape[1], &weight)?.unpack();
            return Ok(Linear { weight, bias, in_i8: false, transform: None });
        };
        let transform = self.transform(slot, shape[1])?;
        if let Some(Transform { delta, s }) = &transform {
            bias = Some(matmul(delta, &weight, bias.as_deref(), shape[1]));
            weight
                .chunks_exact_mut(shape[1])
                .for_each(|row| row.iter_mut().zip(s).for_each(|(w, s)| *w *= s));
        }
        let clips = self.clips(slot, shape[0], int.blocks(shape[1]))?;
        let weight = PackedMatrix::pack_clipped(format, shape[0], shape[1], &weight, &clips)?.unpack();
        Ok(Linear { weight, bias, in_i8: self.path == ProductPath::Integer, transform })
    }

    /// A shift that is absent is 0, a divisor 1.
    fn transform(&mut self, slot: Slot, inputs: usize) -> Result<Option<Transform>> {
        let shapes = [vec![inputs]];
        let delta = (self.learned)(slot.its(Part::Delta), &shapes)?;
        let s = (self.learned)(slot.its(Part::Scale), &shapes)?;
        let is_there = delta.is_some() || s.is_some();
        let (delta, s) = (delta.unwrap_or(vec![0.0; inputs]), s.unwrap_or(vec![1.0; inputs]));
        Ok(is_there.then_some(Transform { delta, s }))
    }

    /// A factor that is absent is 1. One for a row is one for each of its blocks, where the other factor has blocks.
    fn clips(&mut self, slot: Slot, outputs: usize, blocks: usize) -> Result<Vec<Clip>> {
        let shapes = [vec![outputs], vec![outputs, 1], vec![outputs, blocks]];
        let mut part = |part| (self.learned)(slot.its(part), &shapes);
        let parts = [part(Part::Gamma)?, part(Part::Beta)?];
        let count = parts.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let [gamma, beta] = parts.map(|factors| factors.unwrap_or(vec![1.0; outputs]));
        let of = |factors: &[f32], at: usize| factors[at / (count / factors.len())];
        Ok((0..count).map(|at| Clip { gamma: of(&gamma, at), beta: of(&beta, at) }).collect())
    }

    fn norm(&mut self, place: Place, role: Role, norm: Norm, len: usize) -> Result<NormWeights> {
        let weight = match norm.kind.has_weight() {
            true => (self.fetch)(Slot::weight(place, role), &[len])?,
            false => vec![1.0; len],
        };
        let bias = match norm.kind {
            NormKind::LayerNormBias => Some((self.fetch)(Slot::bias(place, role), &[len])?),
            _ => None,
        };
        Ok(NormWeights { weight, bias })
    }
}
