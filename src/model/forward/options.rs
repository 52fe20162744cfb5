//! What a pass is to do, and how tokens are drawn.

use std::sync::Arc;

use crate::energy::Phase;
use crate::fragments::CacheFormat;
use crate::kernels::sample_best::MAX_KEPT;
use crate::model::slot::Stack;
use crate::tuning::{ProductPath, Tuning};

/// What a pass is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct PassOptions {
    /// Whose blocks: an encoder reads all of its input in one pass, as a prompt of its own.
    pub stack: Stack,
    /// Tokens of prompts, or one token of each sequence after that.
    pub phase: Phase,
    /// Most rows of a pass; a step of decoding has no more than there are sequences.
    pub max_rows: u32,
    /// Most tokens of a sequence.
    pub context: u32,
    /// Most tokens of an encoder's input, where there is one.
    pub encoder_tokens: u32,
    /// Sequences that the caches are made for; one where there is an encoder.
    pub sequences: u32,
    /// Pages that hold the keys and values of global layers; `None`: each sequence has room for its whole context.
    pub paging: Option<Paging>,
    /// What keys and values are stored as.
    pub cache: CacheFormat,
    /// Which rows get logits.
    pub logits: LogitRows,
    /// Whether hidden states and router logits stay in tensors of their own, for inspection.
    pub trace: bool,
    /// Whether the ledger keeps what routers leave.
    pub router_telemetry: bool,
    /// How the next token is drawn from the last row's logits; `None`: it is not.
    pub sampling: Option<Sampling>,
    /// How products are computed; `None`: as [`Tuning::shipped`] says for the device.
    pub tuning: Option<Arc<Tuning>>,
    /// What products may round what they multiply to.
    pub path: ProductPath,
    /// Routes tokens as in training, with draws from this seed; `None`: as at inference. See [`Routing`].
    ///
    /// [`Routing`]: crate::model::config::Routing
    pub training: Option<u32>,
    /// Which tokens a routing compares, where it does.
    pub token_groups: TokenGroups,
}

/// The tokens that a routing which compares tokens compares with each other: those that compete for an expert's places (GShard's
/// groups, arXiv 2006.16668, section 2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenGroups {
    /// Those of one sequence in a pass: of a prompt's chunk, or the one token of a step, which has nobody to compete with.
    #[default]
    Sequence,
    /// All tokens of a pass, of all its sequences.
    Batch,
}

impl PassOptions {
    /// Passes of up to so many rows of one sequence, with logits of the last, and nothing drawn or kept; others differ from it in
    /// some field.
    pub const fn new(phase: Phase, max_rows: u32, context: u32) -> Self {
        Self {
            stack: Stack::Decoder,
            phase,
            max_rows,
            context,
            encoder_tokens: context,
            sequences: 1,
            paging: None,
            cache: CacheFormat::F32,
            logits: LogitRows::Last,
            trace: false,
            router_telemetry: false,
            sampling: None,
            tuning: None,
            path: ProductPath::Float,
            training: None,
            token_groups: TokenGroups::Sequence,
        }
    }
}

/// Pages of a cache that sequences share (arXiv 2309.06180).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Tokens of a page.
    pub page_tokens: u32,
    /// Pages there are.
    pub pages: u32,
}

impl Paging {
    /// Pages of so many tokens.
    pub fn pages_of(self, tokens: u32) -> u32 {
        tokens.div_ceil(self.page_tokens)
    }
}

/// Which rows get logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitRows {
    /// None: a part of a prompt that is not its end.
    None,
    /// The last row of each sequence in the pass.
    Last,
    /// Every row.
    All,
}

/// How a token is drawn from the logits: temperature, then `top_k`, then `top_p`, as in Hugging Face transformers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the largest. Else at least [`Sampling::LEAST_TEMPERATURE`].
    pub temperature: f32,
    /// Only that many of the largest logits take part, ties to the lower token; 0: all. At most 128.
    pub top_k: u32,
    /// Of those, only the shortest prefix that holds at least so much of their probability; 1: all. Below 1 and without
    /// `top_k`, the prefix ends at 128 tokens, also where they hold less of the whole.
    pub top_p: f32,
    /// Seed of the noise; the same seed draws the same tokens.
    pub seed: u32,
}

impl Sampling {
    /// The largest logit, ties to the lower token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };
    /// Least temperature above 0: below it logits would leave the range of f32.
    pub const LEAST_TEMPERATURE: f32 = 1e-6;
    /// Most candidates that top-k and top-p consider.
    pub const MOST_KEPT: u32 = MAX_KEPT;

    /// Candidates that are kept, and whether Gumbel noise makes the largest a sample.
    pub(super) fn strategy(self) -> (u32, bool) {
        if self.temperature == 0.0 {
            (1, false)
        } else if self.top_k == 0 && self.top_p >= 1.0 {
            (1, true)
        } else if self.top_k == 0 {
            (Self::MOST_KEPT, false)
        } else {
            (self.top_k, false)
        }
    }
}
