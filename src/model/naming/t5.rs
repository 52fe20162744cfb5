//! T5's names: `encoder.block.3.layer.0.SelfAttention.q.weight`. A block is a block, its sub-layers are its layers: attention, in a
//! decoder attention to the encoder, the feed-forward network.

use super::part;
use crate::model::slot::{Place, Role, Slot, Stack, SubLayerPlace};

/// Names of an encoder with a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct T5 {
    pub(super) names: T5Names,
    /// The table of embeddings.
    pub(super) table: &'static str,
}

/// What a family calls the parts of its feed-forward networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct T5Names {
    /// The dense network, and where the experts are.
    pub feed_forward: &'static str,
    /// Whether its networks are gated: then there are two matrices into them.
    pub gated: bool,
}

/// Where the table may lie: files that hold a tied one once have it under any of these.
const TABLES: [&str; 3] = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"];

/// The head, which may stand for the table.
const HEAD: &str = "lm_head";

impl T5 {
    pub(crate) const fn new(names: T5Names) -> Self {
        Self { names, table: TABLES[0] }
    }

    /// The same with the first name of a table that `has` finds.
    pub(super) fn with_table(self, has: impl Fn(&str) -> bool) -> Self {
        let table = TABLES.into_iter().find(|table| has(&format!("{table}.weight")));
        Self { table: table.unwrap_or(self.table), ..self }
    }

    /// The same for a file that holds the table under the head's name.
    pub(super) fn with_table_as_head(self) -> Self {
        Self { table: HEAD, ..self }
    }

    /// The tensor of a slot, all of which is the slot's.
    pub(super) fn name(self, slot: Slot) -> String {
        let stack = if slot.place.stack() == Stack::Encoder { "encoder" } else { "decoder" };
        let module = match slot.place {
            Place::Model | Place::Encoder => match slot.role {
                Role::Head => HEAD.to_owned(),
                Role::FinalNorm => format!("{stack}.final_layer_norm"),
                Role::RelativeBias => {
                    format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias")
                }
                _ => self.table.to_owned(),
            },
            // No family has them; the names are ours.
            Place::Block(_) | Place::Stream(_) => slot.place.name(&format!("{:?}", slot.role).to_lowercase()),
            Place::SubLayer(at) | Place::Expert(at, _) | Place::SharedExpert(at) => {
                let SubLayerPlace { block, sublayer, .. } = at;
                format!("{stack}.block.{block}.layer.{sublayer}.{}", self.in_layer(slot, at))
            }
        };
        format!("{module}.{}", part(slot.part))
    }

    fn in_layer(self, slot: Slot, at: SubLayerPlace) -> String {
        let attention = if at.sublayer == 0 { "SelfAttention" } else { "EncDecAttention" };
        let feed_forward = match slot.place {
            Place::Expert(_, expert) => format!("{}.experts.expert_{expert}", self.names.feed_forward),
            _ => self.names.feed_forward.to_owned(),
        };
        match slot.role {
            Role::Norm => "layer_norm".to_owned(),
            Role::Q => format!("{attention}.q"),
            Role::K => format!("{attention}.k"),
            Role::V => format!("{attention}.v"),
            Role::Out => format!("{attention}.o"),
            Role::Router => format!("{feed_forward}.router.classifier"),
            Role::Gate => format!("{feed_forward}.wi_0"),
            Role::Up if self.names.gated => format!("{feed_forward}.wi_1"),
            Role::Up => format!("{feed_forward}.wi"),
            Role::Down => format!("{feed_forward}.wo"),
            // No family has them; the names are ours.
            _ => slot.place.of(Stack::Decoder).name(&format!("{:?}", slot.role).to_lowercase()),
        }
    }
}
