//! What a forward pass goes on from.

use crate::model::config::{ModelConfig, Op};
use crate::model::slot::Stack;

/// What a sequence is run under, besides its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The task of the sequence, which picks experts in layers that go by tasks.
    pub task: Option<u32>,
    /// Tokens are routed as in training, with draws from this seed.
    pub training: Option<u32>,
}

/// Keys and values of the tokens so far, and of what an encoder has read.
///
/// Every layer keeps all of them; a window is left to the mask.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pub(super) conditions: Conditions,
    pub(super) tokens: u32,
    pub(super) layers: Vec<KeysAndValues>,
    /// Of every cross-attention, those of the encoder's output; none before there is one.
    pub(super) encoded: Option<Vec<KeysAndValues>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct KeysAndValues {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl Cache {
    /// A cache before the first token.
    pub fn new(config: &ModelConfig) -> Self {
        Self::under(config, Conditions::default())
    }

    /// The same under other conditions than none.
    pub fn under(config: &ModelConfig, conditions: Conditions) -> Self {
        let layers = config.ops_of(Stack::Decoder).filter(|(_, op)| matches!(op, Op::Attention(_))).count();
        Self { conditions, tokens: 0, layers: vec![KeysAndValues::default(); layers], encoded: None }
    }

    /// Tokens so far.
    pub fn len(&self) -> u32 {
        self.tokens
    }

    /// Whether no token has been seen.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }
}
