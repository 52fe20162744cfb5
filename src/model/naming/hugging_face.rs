//! Hugging Face's names: a block is a layer, its sub-layer 0 the attention and 1 the feed-forward network; 2 reads the layer's own
//! embedding, where there is one.

use std::f32::consts::FRAC_1_SQRT_2;

use super::attention::AttentionNames;
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

/// What a family calls what there is once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelNames {
    /// What is before all names but the head's, with a dot; a body saved without its head's class lacks it.
    pub body: &'static str,
    /// The list of layers.
    pub layers: &'static str,
    /// The table of token embeddings.
    pub embedding: &'static str,
    /// The table of positions.
    pub positions: &'static str,
    /// The norm before the head.
    pub final_norm: &'static str,
    /// The head.
    pub head: &'static str,
}

/// What a family calls the parts of a layer, and those beside the layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerNames {
    /// What there is once.
    pub model: ModelNames,
    /// The attention.
    pub attention: AttentionNames,
    /// The norms before and after the attention, before and after the feed-forward network.
    pub norms: [&'static str; 4],
    /// Whether what lies beside attention is a projection of low rank (Gemma 3n), and not the feed-forward network.
    pub laurel: bool,
    /// The dense feed-forward network.
    pub feed_forward: &'static str,
    /// Its gate, up and down.
    pub matrices: [&'static str; 3],
    /// The rows of a key and of a value that stand below each other for each head, where latents are projected to both
    /// (DeepSeek).
    pub latent_rows: [u32; 2],
    /// The projection of queries, from the input or from a latent of them.
    pub queries: &'static str,
    /// The router's matrix.
    pub router: &'static str,
    /// Multiplies the scale of the router's norm, that of residual streams included.
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
    /// Before all names.
    outer: &'static str,
    /// Whether what a family calls the body comes then.
    body: bool,
    /// And this, of the body alone.
    inner: &'static str,
}

/// The prefixes in use: a language model; the text part of a multimodal one, as published and as saved by
/// `transformers` 5; a body saved without its head's class.
pub(super) const PREFIXES: [Prefix; 4] = [
    Prefix { outer: "", body: true, inner: "" },
    Prefix { outer: "language_model.", body: true, inner: "" },
    Prefix { outer: "", body: true, inner: "language_model." },
    Prefix { outer: "", body: false, inner: "" },
];

impl ModelNames {
    /// Llama's, and those of most since.
    pub const LLAMA: Self = Self {
        body: "model.",
        layers: "layers",
        embedding: "embed_tokens",
        positions: "embed_positions",
        final_norm: "norm",
        head: "lm_head",
    };

    /// GPT-2's.
    pub const GPT: Self = Self {
        body: "transformer.",
        layers: "h",
        embedding: "wte",
        positions: "wpe",
        final_norm: "ln_f",
        head: "lm_head",
    };
}

/// Gate, up and down, as most call them.
const MATRICES: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

/// The projection of queries from the input.
const QUERIES: &str = "self_attn.q_proj";

impl LayerNames {
    /// Norms before each sub-layer (Llama, and most since).
    pub const PRE_NORM: Self = Self {
        model: ModelNames::LLAMA,
        attention: AttentionNames::LLAMA,
        norms: ["input_layernorm", "", "post_attention_layernorm", ""],
        laurel: false,
        feed_forward: "mlp",
        matrices: MATRICES,
        latent_rows: [1, 1],
        queries: QUERIES,
        router: "mlp.gate",
        router_norm_factor: 1.0,
        shared_expert: "mlp.shared_experts",
        experts: ExpertNames::Each(EachExpert { list: "mlp.experts", matrices: MATRICES }),
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
        let Prefix { outer, body, inner } = self.prefix;
        let names = self.layer.model;
        let body = format!("{outer}{}{inner}", if body { names.body } else { "" });
        let part = part(slot.part);
        if let Place::Block(block) = slot.place {
            return self.layer.around_layer(slot, shape).below(&format!("{body}layers.{block}.altup."));
        }
        if let Place::Stream(stream) = slot.place {
            let of = if slot.role == Role::StreamJoin { "unembed_" } else { "" };
            let name = format!("{body}altup_{of}projections.{}.{part}", stream.saturating_sub(1));
            return Stored::whole(name, shape);
        }
        let Some(SubLayerPlace { block, .. }) = slot.place.at() else {
            let head = || format!("{outer}{}", names.head);
            let name = match slot.role {
                Role::Head => head(),
                Role::Embedding if self.table_is_head => head(),
                Role::FinalNorm => format!("{body}{}", names.final_norm),
                Role::Positions => format!("{body}{}", names.positions),
                Role::RelativeBias => format!("{body}relative_bias"),
                Role::LayerTable => format!("{body}embed_tokens_per_layer"),
                Role::LayerProjection => format!("{body}per_layer_model_projection"),
                // What Gemma 3n and 4 add up here is then multiplied by this: here its parts are.
                Role::LayerInputNorm => {
                    let name = format!("{body}per_layer_projection_norm.{part}");
                    return Stored { factor: FRAC_1_SQRT_2, ..Stored::whole(name, shape) };
                }
                _ => format!("{body}{}", names.embedding),
            };
            return Stored::whole(format!("{name}.{part}"), shape);
        };
        let layer = format!("{body}{}.{block}.", names.layers);
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
    /// A tensor that mixes residual streams around a layer.
    fn around_layer(self, slot: Slot, shape: &[usize]) -> Stored {
        let module = match slot.role {
            Role::RouterNorm => {
                let whole = Stored::whole("router_norm.weight".to_owned(), shape);
                return Stored { factor: self.router_norm_factor, ..whole };
            }
            Role::StreamScale => return Stored::whole("correct_output_scale".to_owned(), shape),
            Role::Prediction => "prediction_coefs",
            Role::Correction => "correction_coefs",
            _ => "modality_router",
        };
        Stored::whole(format!("{module}.{}", part(slot.part)), shape)
    }

    /// A tensor of a layer that is no expert's.
    fn in_layer(self, slot: Slot, shape: &[usize]) -> Stored {
        let [pre_attention, post_attention, pre_feed_forward, post_feed_forward] = self.norms;
        // A layer that is one parallel sub-layer has a norm for all, or one for each branch.
        let (of_attention, branch) = match slot.place {
            Place::SubLayer(SubLayerPlace { sublayer: 0, branch, .. }) => (branch.unwrap_or(0) == 0, None),
            Place::SubLayer(at) => (false, at.branch),
            _ => (false, None),
        };
        let beside_attention =
            matches!(slot.place, Place::SubLayer(SubLayerPlace { sublayer: 0, branch: Some(1), .. }));
        let of_laurel = self.laurel && beside_attention;
        let of_layer_input = matches!(slot.place, Place::SubLayer(at) if at.sublayer == 2);
        let feed_forward = match slot.place {
            Place::SharedExpert(_) => self.shared_expert,
            _ => self.feed_forward,
        };
        let attention = self.attention.module;
        if let (Role::Q | Role::K | Role::V, Part::Weight | Part::Bias, Some(fused)) =
            (slot.role, slot.part, self.attention.fused)
        {
            return fused.locate(slot, shape).below(&format!("{attention}."));
        }
        let module = match slot.role {
            Role::Norm if of_attention => pre_attention.to_owned(),
            // Of branches, Gemma 4 counts the norms before them from the second, and those after them from the first.
            Role::Norm => match branch {
                None | Some(0) => pre_feed_forward.to_owned(),
                Some(branch) => format!("{pre_feed_forward}_{}", branch + 1),
            },
            Role::PostNorm if of_laurel => "laurel.post_laurel_norm".to_owned(),
            Role::Up if of_laurel => "laurel.linear_left".to_owned(),
            Role::Down if of_laurel => "laurel.linear_right".to_owned(),
            Role::PostNorm if of_attention => post_attention.to_owned(),
            Role::PostNorm if of_layer_input => "post_per_layer_input_norm".to_owned(),
            Role::PostNorm => match branch {
                None => post_feed_forward.to_owned(),
                Some(branch) => format!("{post_feed_forward}_{}", branch + 1),
            },
            Role::InputGate => "per_layer_input_gate".to_owned(),
            Role::InputProjection => "per_layer_projection".to_owned(),
            Role::Q if self.queries != QUERIES => self.queries.to_owned(),
            Role::QLatent => "self_attn.q_a_proj".to_owned(),
            Role::QLatentNorm => "self_attn.q_a_layernorm".to_owned(),
            Role::KvLatent => "self_attn.kv_a_proj_with_mqa".to_owned(),
            Role::KvLatentNorm => "self_attn.kv_a_layernorm".to_owned(),
            Role::LatentK | Role::LatentV => return self.of_latent(slot, shape),
            Role::Q => format!("{attention}.q_proj"),
            Role::K => format!("{attention}.k_proj"),
            Role::V => format!("{attention}.v_proj"),
            Role::Out => format!("{attention}.{}", self.attention.out),
            Role::QNorm | Role::KNorm => return self.attention.norm(slot, shape),
            Role::Router => self.router.to_owned(),
            // No published family has them.
            Role::NoiseRouter => format!("{}_noise", self.router),
            Role::GroupRouter => format!("{}_group", self.router),
            Role::ProjectIn | Role::ProjectOut => {
                let of = if of_attention { attention } else { feed_forward };
                format!("{of}.project_{}", if slot.role == Role::ProjectIn { "in" } else { "out" })
            }
            Role::ExpertTable => format!("{}_table", self.router),
            Role::SharedGate => format!("{}_gate", self.shared_expert),
            Role::Gate | Role::Up | Role::Down => {
                format!("{feed_forward}.{}", self.matrices[of_matrix(slot.role)])
            }
            // Bare tensors, which have no part to their names.
            Role::Sinks => return Stored::whole(format!("{attention}.sinks"), shape),
            Role::SelectionBias => {
                return Stored::whole(format!("{}.e_score_correction_bias", self.router), shape);
            }
            Role::OutputScale => return Stored::whole("layer_scalar".to_owned(), shape),
            Role::RouterNorm => {
                let factor = self.router_norm_factor;
                return Stored { factor, ..Stored::whole("router.scale".to_owned(), shape) };
            }
            Role::ExpertScale => return Stored::whole("router.per_expert_scale".to_owned(), shape),
            Role::Embedding | Role::Positions | Role::FinalNorm | Role::Head | Role::RelativeBias => {
                String::new()
            }
            Role::LayerTable | Role::LayerProjection | Role::LayerInputNorm => String::new(),
            Role::StreamProjection | Role::StreamJoin | Role::StreamScale => String::new(),
            Role::Prediction | Role::Correction => String::new(),
        };
        Stored::whole(format!("{module}.{}", part(slot.part)), shape)
    }
}

impl LayerNames {
    /// The matrix of keys or of values within that of both, in which each head has its rows of keys, then those of values.
    fn of_latent(self, slot: Slot, shape: &[usize]) -> Stored {
        let is_value = slot.role == Role::LatentV;
        if slot.part != Part::Weight {
            // What is learned of it lies as it would beside a weight of its own.
            let name = if is_value { "v_b_proj" } else { "k_b_proj" };
            return Stored::whole(format!("self_attn.{name}.{}", part(slot.part)), shape);
        }
        let [keys, values] = self.latent_rows.map(|rows| rows as usize);
        let own = if is_value { values } else { keys };
        let &[rows, inputs] = shape else {
            return Stored::whole("self_attn.kv_b_proj.weight".to_owned(), shape);
        };
        let heads = rows / own;
        let whole = [heads * (keys + values), inputs];
        Stored {
            size: [heads, own * inputs],
            first: if is_value { (keys * inputs) as u64 } else { 0 },
            row_step: (keys + values) * inputs,
            ..Stored::whole("self_attn.kv_b_proj.weight".to_owned(), &whole)
        }
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
                let matrix = MATRICES[matrix];
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
