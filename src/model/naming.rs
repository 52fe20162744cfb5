//! How checkpoints call the tensors of a model.
//!
//! Native names follow the description: `embedding.weight`, `final_norm.weight`, `head.weight`, and for a
//! sub-layer `blocks.0.sublayers.1.` with `norm`, `post_norm`, `q`, `k`, `v`, `out`, `q_norm`, `k_norm`,
//! `router`, `gate`, `up` or `down`, then `.weight` or `.bias`; an expert's tensors lie one level deeper, as
//! in `blocks.0.sublayers.1.experts.3.gate.weight`. What OmniQuant has learned of a weight lies beside it under any
//! scheme, with `.gamma`, `.beta`, `.delta` or `.s` in place of `.weight`.

use crate::model::slot::{Part, Place, Role, Slot};

/// A scheme of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Ours, for any model; see the module's description.
    Native,
    /// That of Hugging Face's decoder-only families.
    HuggingFace(HuggingFace),
}

/// Hugging Face's names: a block is a layer, its sub-layer 0 the attention and 1 the feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HuggingFace {
    norms: LayerNorms,
    prefix: Prefix,
    /// Whether the one matrix of a tied model lies under the head's name.
    table_is_head: bool,
}

/// Where the norms of a layer stand, which decides what `post_attention_layernorm` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerNorms {
    /// Before each sub-layer (Llama, Mixtral).
    Before,
    /// Before and after each sub-layer (Gemma 2 and 3).
    BeforeAndAfter,
}

/// What stands before the names of the body (embedding, layers, final norm) and of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    body: &'static str,
    head: &'static str,
}

/// The prefixes in use: a language model; the text part of a multimodal one, as published and as saved by
/// `transformers` 5; a body saved without its head's class.
const PREFIXES: [Prefix; 4] = [
    Prefix { body: "model.", head: "" },
    Prefix { body: "language_model.model.", head: "language_model." },
    Prefix { body: "model.language_model.", head: "" },
    Prefix { body: "", head: "" },
];

impl Naming {
    pub(crate) const fn hugging_face(norms: LayerNorms) -> Self {
        Self::HuggingFace(HuggingFace { norms, prefix: PREFIXES[0], table_is_head: false })
    }

    /// The name of a slot's tensor.
    pub fn tensor_name(self, slot: Slot) -> String {
        let part = match slot.part {
            Part::Weight => "weight",
            Part::Bias => "bias",
            Part::Gamma => "gamma",
            Part::Beta => "beta",
            Part::Delta => "delta",
            Part::Scale => "s",
        };
        match self {
            Self::Native => format!("{}.{part}", native(slot)),
            Self::HuggingFace(naming) => format!("{}.{part}", naming.module(slot)),
        }
    }

    /// The same scheme with the prefix under which `has` finds the final norm, which no model lacks; unchanged if it
    /// finds none.
    #[must_use]
    pub fn detect_prefix(self, has: impl Fn(&str) -> bool) -> Self {
        let Self::HuggingFace(naming) = self else { return self };
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
            Self::Native => self,
        }
    }
}

fn native(slot: Slot) -> String {
    let role = match slot.role {
        Role::Embedding => "embedding",
        Role::Head => "head",
        Role::FinalNorm => "final_norm",
        Role::Norm => "norm",
        Role::PostNorm => "post_norm",
        Role::Q => "q",
        Role::K => "k",
        Role::V => "v",
        Role::Out => "out",
        Role::QNorm => "q_norm",
        Role::KNorm => "k_norm",
        Role::Router => "router",
        Role::Gate => "gate",
        Role::Up => "up",
        Role::Down => "down",
    };
    slot.place.name(role)
}

impl HuggingFace {
    fn module(self, slot: Slot) -> String {
        let Prefix { body, head } = self.prefix;
        match slot.place {
            Place::Model
                if slot.role == Role::Head || (slot.role == Role::Embedding && self.table_is_head) =>
            {
                format!("{head}lm_head")
            }
            Place::Model if slot.role == Role::FinalNorm => format!("{body}norm"),
            Place::Model => format!("{body}embed_tokens"),
            Place::SubLayer { block, sublayer } => {
                format!("{body}layers.{block}.{}", self.in_layer(sublayer, slot.role))
            }
            Place::Expert { block, expert, .. } => {
                format!("{body}layers.{block}.block_sparse_moe.experts.{expert}.{}", in_expert(slot.role))
            }
        }
    }

    fn in_layer(self, sublayer: usize, role: Role) -> &'static str {
        match (role, sublayer, self.norms) {
            (Role::Norm, 0, _) => "input_layernorm",
            (Role::Norm, _, LayerNorms::Before) => "post_attention_layernorm",
            (Role::Norm, _, LayerNorms::BeforeAndAfter) => "pre_feedforward_layernorm",
            (Role::PostNorm, 0, _) => "post_attention_layernorm",
            (Role::PostNorm, ..) => "post_feedforward_layernorm",
            (Role::Q, ..) => "self_attn.q_proj",
            (Role::K, ..) => "self_attn.k_proj",
            (Role::V, ..) => "self_attn.v_proj",
            (Role::Out, ..) => "self_attn.o_proj",
            (Role::QNorm, ..) => "self_attn.q_norm",
            (Role::KNorm, ..) => "self_attn.k_norm",
            (Role::Router, ..) => "block_sparse_moe.gate",
            (Role::Gate, ..) => "mlp.gate_proj",
            (Role::Up, ..) => "mlp.up_proj",
            (Role::Down, ..) => "mlp.down_proj",
            (Role::Embedding | Role::FinalNorm | Role::Head, ..) => "",
        }
    }
}

/// Mixtral's experts number their matrices: w1 is the gate, w3 up, w2 down.
fn in_expert(role: Role) -> &'static str {
    match role {
        Role::Gate => "w1",
        Role::Up => "w3",
        _ => "w2",
    }
}
