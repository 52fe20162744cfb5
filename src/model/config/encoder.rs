//! What a decoder attends to, and the bias that stands for positions in both.

use serde::{Deserialize, Serialize};

use super::{Block, Norm};

/// The stack of a model that reads its whole input at once, every token with all others in sight. It shares the decoder's
/// table of token embeddings, and what its norm gives is what cross-attention reads (T5, arXiv 1910.10683, section 2.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    /// The blocks, first to last.
    pub blocks: Vec<Block>,
    /// The norm of what cross-attention reads.
    pub final_norm: Norm,
    /// The token that every answer begins with; it is none of the answer's own.
    pub start_id: u32,
    /// Added to the scores of its attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_bias: Option<RelativeBias>,
}

/// A learned number for each head and each bucket of distances from a query to its key, `[buckets, H]`, added to scaled scores;
/// all attention of a stack shares the table (T5, arXiv 1910.10683, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelativeBias {
    /// Rows of the table; of an encoder's, one half is for keys that come later.
    pub buckets: u32,
    /// Distance from which on all are in the last bucket.
    pub max_distance: u32,
}

impl RelativeBias {
    /// Buckets of keys on one side of a query.
    pub fn buckets_each_way(self, both_ways: bool) -> u32 {
        if both_ways { self.buckets / 2 } else { self.buckets }
    }
}
