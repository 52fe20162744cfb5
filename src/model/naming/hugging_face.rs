//! Hugging Face's names: a block is a layer, its sub-layer 0 the attention and 1 the feed-forward network.

use super::part;
use super::stored::Stored;
use crate::model::slot::{Part, Place, Role, Slot, SubLayerPlace};

/// Names of a decoder-only model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HuggingFace {
    pub(super) layer: LayerNames,
    pub(super) prefix: Prefix,
    /// Whether the one matrix of a tied model lies under the head's name.
    pub(super) table_is_head: bool,
}

/// What a family calls the parts of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerNames {
    /// The norms before and after the attention, before and after the feed-forward network.
    pub norms: [&'static str; 4],
    /// The dense feed-forward network.
    pub feed_forward: &'static str,
    /// The router's matrix.
    pub router: &'static str,
    /// Multiplies the scale of the router's norm.
    pub router_norm_factor: f32,
    /// The expert that every token uses.
    pub shared_expert: &'static str,
    /// The experts.
    pub experts: ExpertNames,
}

/// How experts are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ExpertNames {
    /// Each has tensors of its own.
    Each(EachExpert),
    /// All in one.
    Fused(FusedExperts),
}

/// Experts with tensors of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EachExpert {
    /// The list of them.
    pub list: &'static str,
    /// Gate, up and down.
    pub matrices: [&'static str; 3],
}

/// Experts whose matrices are stored in two tensors, `{module}.gate_up_proj` and `{module}.down_proj`, and whose biases in
/// two more that end in `_bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FusedExperts {
    /// Where they are.
    pub module: &'static str,
    /// How many.
    pub count: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Width of one branch.
    pub expert_size: u32,
    /// Whether matrices are `[inputs, outputs]`.
    pub input_major: bool,
    /// Whether a gate's output stands beside its up's. Else all gates come first.
    pub interleaved: bool,
}

/// What stands before the names of the body (embedding, layers, final norm) and of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    body: &'static str,
    head: &'static str,
}

/// The prefixes in use: a language model; the text part of a multimodal one, as published and as saved by
/// `transformers` 5; a body saved without its head's class.
pub(super) const PREFIXES: [Prefix; 4] = [
    Prefix { body: "model.", head: "" },
    Prefix { body: "language_model.model.", head: "language_model." },
    Prefix { body: "model.language_model.", head: "" },
    Prefix { body: "", head: "" },
];

impl LayerNames {
    /// Norms before each sub-layer (Llama, and most since).
    pub const PRE_NORM: Self = Self {
        norms: ["input_layernorm", "", "post_attention_layernorm", ""],
        feed_forward: "mlp",
        router: "mlp.gate",
        router_norm_factor: 1.0,
        shared_expert: "mlp.shared_experts",
        experts: ExpertNames::Each(EachExpert {
            list: "mlp.experts",
            matrices: ["gate_proj", "up_proj", "down_proj"],
        }),
    };

    /// Norms before and after each sub-layer (Gemma 2 and 3).
    pub const PRE_AND_POST_NORM: Self = Self {
        norms: [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ],
        ..Self::PRE_NORM
    };
}

impl HuggingFace {
    pub(super) fn locate(self, slot: Slot, shape: &[usize]) -> Stored {
        let Prefix { body, head } = self.prefix;
        let part = part(slot.part);
        let Some(SubLayerPlace { block, .. }) = slot.place.at() else {
            let name = match slot.role {
                Role::Head => format!("{head}lm_head"),
                Role::Embedding if self.table_is_head => format!("{head}lm_head"),
                Role::FinalNorm => format!("{body}norm"),
                Role::RelativeBias => format!("{body}relative_bias"),
                _ => format!("{body}embed_tokens"),
            };
            return Stored::whole(format!("{name}.{part}"), shape);
        };
        let layer = format!("{body}layers.{block}.");
        match (slot.place, self.layer.experts) {
            (Place::Expert(_, expert), ExpertNames::Each(names)) => {
                let EachExpert { list, matrices } = names;
                let matrix = matrices[of_matrix(slot.role)];
                Stored::whole(format!("{layer}{list}.{expert}.{matrix}.{part}"), shape)
            }
            (Place::Expert(_, expert), ExpertNames::Fused(names)) => {
                names.locate(&layer, slot, shape, expert)
            }
            _ => self.layer.in_layer(slot, shape).below(&layer),
        }
    }
}

impl LayerNames {
    /// A tensor of a layer that is no expert's.
    fn in_layer(self, slot: Slot, shape: &[usize]) -> Stored {
        let [pre_attention, post_attention, pre_feed_forward, post_feed_forward] = self.norms;
        let of_attention = matches!(slot.place, Place::SubLayer(at) if at.sublayer == 0);
        let feed_forward = match slot.place {
            Place::SharedExpert(_) => self.shared_expert,
            _ => self.feed_forward,
        };
        let branch = slot.place.at().and_then(|at| at.branch);
        let module = match slot.role {
            Role::Norm if of_attention => pre_attention.to_owned(),
            // Of branches, Gemma 4 counts the norms before them from the second, and those after them from the first.
            Role::Norm => match branch {
                None | Some(0) => pre_feed_forward.to_owned(),
                Some(branch) => format!("{pre_feed_forward}_{}", branch + 1),
            },
            Role::PostNorm if of_attention => post_attention.to_owned(),
            Role::PostNorm => match branch {
                None => post_feed_forward.to_owned(),
                Some(branch) => format!("{post_feed_forward}_{}", branch + 1),
            },
            Role::Q => "self_attn.q_proj".to_owned(),
            Role::K => "self_attn.k_proj".to_owned(),
            Role::V => "self_attn.v_proj".to_owned(),
            Role::Out => "self_attn.o_proj".to_owned(),
            Role::QNorm => "self_attn.q_norm".to_owned(),
            Role::KNorm => "self_attn.k_norm".to_owned(),
            Role::Router => self.router.to_owned(),
            // No published family has them.
            Role::NoiseRouter => format!("{}_noise", self.router),
            Role::GroupRouter => format!("{}_group", self.router),
            Role::ProjectIn | Role::ProjectOut => {
                let of = if of_attention { "self_attn" } else { feed_forward };
                format!("{of}.project_{}", if slot.role == Role::ProjectIn { "in" } else { "out" })
            }
            Role::ExpertTable => format!("{}_table", self.router),
            Role::SharedGate => format!("{}_gate", self.shared_expert),
            Role::Gate => format!("{feed_forward}.gate_proj"),
            Role::Up => format!("{feed_forward}.up_proj"),
            Role::Down => format!("{feed_forward}.down_proj"),
            // Bare tensors, which have no part to their names.
            Role::Sinks => return Stored::whole("self_attn.sinks".to_owned(), shape),
            Role::SelectionBias => {
                return Stored::whole(format!("{}.e_score_correction_bias", self.router), shape);
            }
            Role::OutputScale => return Stored::whole("layer_scalar".to_owned(), shape),
            Role::RouterNorm => {
                let factor = self.router_norm_factor;
                return Stored { factor, ..Stored::whole("router.scale".to_owned(), shape) };
            }
            Role::ExpertScale => return Stored::whole("router.per_expert_scale".to_owned(), shape),
            Role::Embedding | Role::FinalNorm | Role::Head | Role::RelativeBias => String::new(),
        };
        Stored::whole(format!("{module}.{}", part(slot.part)), shape)
    }
}

/// Gate, up and down as indices.
fn of_matrix(role: Role) -> usize {
    match role {
        Role::Gate => 0,
        Role::Up => 1,
        _ => 2,
    }
}

impl FusedExperts {
    fn locate(self, layer: &str, slot: Slot, shape: &[usize], expert: usize) -> Stored {
        let [experts, d, f] = [self.count, self.hidden_size, self.expert_size].map(|n| n as usize);
        let matrix = of_matrix(slot.role);
        let (tensor, [rows, inputs, stored_rows]) = match matrix {
            0 | 1 => ("gate_up_proj", [f, d, 2 * f]),
            _ => ("down_proj", [d, f, d]),
        };
        // Rows of up lie between those of the gate, or behind them.
        let (first_row, row) = match (matrix, self.interleaved) {
            (0 | 1, true) => (matrix, 2),
            (1, false) => (f, 1),
            _ => (0, 1),
        };
        let module = self.module;
        if slot.part == Part::Bias {
            return Stored {
                size: [rows, 1],
                first: expert as u64 * stored_rows as u64 + first_row as u64,
                row_step: row,
                ..Stored::whole(format!("{layer}{module}.{tensor}_bias"), &[experts, stored_rows])
            };
        }
        let name = match slot.part {
            Part::Weight => format!("{layer}{module}.{tensor}"),
            // What is learned of a weight lies as it would beside a weight of its own.
            other => {
                let matrix = ["gate_proj", "up_proj", "down_proj"][matrix];
                return Stored::whole(format!("{layer}{module}.{expert}.{matrix}.{}", part(other)), shape);
            }
        };
        let (whole, [one_row, one_input]) = match self.input_major {
            true => ([experts, inputs, stored_rows], [1, stored_rows]),
            false => ([experts, stored_rows, inputs], [inputs, 1]),
        };
        Stored {
            size: [rows, inputs],
            first: expert as u64 * (stored_rows * inputs) as u64 + (first_row * one_row) as u64,
            row_step: row * one_row,
            col_step: one_input,
            ..Stored::whole(name, &whole)
        }
    }
}
