//! How checkpoints call the tensors of a model, and where in them a model's own lie.
//!
//! Native names follow the description: `embedding.weight`, `positions.weight`, `final_norm.weight`, `head.weight`, `layer_table.weight`,
//! `layer_projection.weight`, `layer_input_norm.weight`, `relative_bias.weight`, `encoder.final_norm.weight`,
//! `encoder.relative_bias.weight`, for a residual stream `streams.1.` with `stream_projection` or `stream_join`,
//! for a block `blocks.0.` with `router_norm`, `router`, `prediction`, `correction` or `stream_scale`, and for a sub-layer
//! `blocks.0.sublayers.1.`, in an encoder `encoder.blocks.0.sublayers.1.`, with `norm`, `post_norm`, `output_scale`,
//! `project_in`, `project_out`, `q`, `k`, `v`, `out`, `input_gate`, `input_projection`, `q_norm`, `k_norm`, `sinks`, `q_latent`,
//! `q_latent_norm`, `kv_latent`, `kv_latent_norm`, `latent_k`, `latent_v`, `router_norm`, `router`, `noise_router`,
//! `group_router`, `expert_table`, `selection_bias`,
//! `expert_scale`, `shared_gate`, `gate`, `up` or `down`, then `.weight` or `.bias`; an expert's tensors lie one level
//! deeper, as in `blocks.0.sublayers.1.experts.3.gate.weight` and `blocks.0.sublayers.1.shared_expert.gate.weight`, and so
//! do those of a branch, as in `blocks.0.sublayers.1.branches.0.q.weight`. What OmniQuant has learned of a weight lies
//! beside it under any scheme, with `.gamma`, `.beta`, `.delta` or `.s` in place of `.weight`.

mod attention;
mod hugging_face;
mod stored;
mod t5;

pub(crate) use attention::{AttentionNames, FusedQkv};
pub use hugging_face::HuggingFace;
pub(crate) use hugging_face::{EachExpert, ExpertNames, FusedExperts, LayerNames, ModelNames};
pub(crate) use stored::Stored;
pub use t5::T5;
pub(crate) use t5::T5Names;

use crate::model::slot::{Part, Place, Role, Slot};
use hugging_face::PREFIXES;

/// A scheme of names.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a model has one, and it is copied into constants")]
pub enum Naming {
    /// Ours, for any model; see the module's description.
    Native,
    /// That of Hugging Face's decoder-only families.
    HuggingFace(HuggingFace),
    /// That of Hugging Face's T5 and what came of it.
    T5(T5),
}

impl Naming {
    pub(crate) const fn hugging_face(layer: LayerNames) -> Self {
        Self::HuggingFace(HuggingFace { layer, prefix: PREFIXES[0], table_is_head: false })
    }

    /// The name of the tensor that holds a slot's values, alone or among others.
    pub fn tensor_name(self, slot: Slot) -> String {
        self.locate(slot, &[]).name
    }

    /// Where the values of a slot of that shape are.
    pub(crate) fn locate(self, slot: Slot, shape: &[usize]) -> Stored {
        match self {
            Self::Native => Stored::whole(format!("{}.{}", native(slot), part(slot.part)), shape),
            Self::HuggingFace(naming) => naming.locate(slot, shape),
            Self::T5(naming) => Stored::whole(naming.name(slot), shape),
        }
    }

    /// The same scheme with the prefix under which `has` finds the final norm, which no model lacks, or with the name of a table
    /// of embeddings that it finds; unchanged if it finds none.
    #[must_use]
    pub fn detect_prefix(self, has: impl Fn(&str) -> bool) -> Self {
        let naming = match self {
            Self::HuggingFace(naming) => naming,
            Self::T5(naming) => return Self::T5(naming.with_table(has)),
            Self::Native => return self,
        };
        PREFIXES
            .into_iter()
            .map(|prefix| Self::HuggingFace(HuggingFace { prefix, ..naming }))
            .find(|naming| has(&naming.tensor_name(Slot::weight(Place::Model, Role::FinalNorm))))
            .unwrap_or(self)
    }

    /// The same scheme for a model whose embedding is kept under the name of the head it is tied to.
    #[must_use]
    pub fn with_table_as_head(self) -> Self {
        match self {
            Self::HuggingFace(naming) => Self::HuggingFace(HuggingFace { table_is_head: true, ..naming }),
            Self::T5(naming) => Self::T5(naming.with_table_as_head()),
            Self::Native => self,
        }
    }
}

/// What a tensor's name ends in.
fn part(part: Part) -> &'static str {
    match part {
        Part::Weight => "weight",
        Part::Bias => "bias",
        Part::Gamma => "gamma",
        Part::Beta => "beta",
        Part::Delta => "delta",
        Part::Scale => "s",
    }
}

fn native(slot: Slot) -> String {
    let role = match slot.role {
        Role::Embedding => "embedding",
        Role::Positions => "positions",
        Role::LayerTable => "layer_table",
        Role::LayerProjection => "layer_projection",
        Role::LayerInputNorm => "layer_input_norm",
        Role::InputGate => "input_gate",
        Role::InputProjection => "input_projection",
        Role::StreamProjection => "stream_projection",
        Role::StreamJoin => "stream_join",
        Role::Prediction => "prediction",
        Role::Correction => "correction",
        Role::StreamScale => "stream_scale",
        Role::Head => "head",
        Role::FinalNorm => "final_norm",
        Role::Norm => "norm",
        Role::PostNorm => "post_norm",
        Role::OutputScale => "output_scale",
        Role::ProjectIn => "project_in",
        Role::ProjectOut => "project_out",
        Role::RelativeBias => "relative_bias",
        Role::Q => "q",
        Role::K => "k",
        Role::V => "v",
        Role::QLatent => "q_latent",
        Role::QLatentNorm => "q_latent_norm",
        Role::KvLatent => "kv_latent",
        Role::KvLatentNorm => "kv_latent_norm",
        Role::LatentK => "latent_k",
        Role::LatentV => "latent_v",
        Role::Out => "out",
        Role::QNorm => "q_norm",
        Role::KNorm => "k_norm",
        Role::Sinks => "sinks",
        Role::RouterNorm => "router_norm",
        Role::Router => "router",
        Role::NoiseRouter => "noise_router",
        Role::GroupRouter => "group_router",
        Role::ExpertTable => "expert_table",
        Role::SelectionBias => "selection_bias",
        Role::ExpertScale => "expert_scale",
        Role::SharedGate => "shared_gate",
        Role::Gate => "gate",
        Role::Up => "up",
        Role::Down => "down",
    };
    slot.place.name(role)
}
