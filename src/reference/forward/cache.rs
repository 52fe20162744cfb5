//! What a forward pass goes on from.

use crate::fragments::CacheFormat;
use crate::model::config::{ModelConfig, Op};
use crate::model::slot::{Stack, SubLayerPlace};

/// What a sequence is run under, besides its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The task of the sequence, which picks experts in layers that go by tasks.
    pub task: Option<u32>,
    /// Tokens are routed as in training, with draws from this seed.
    pub training: Option<u32>,
    /// What keys and values are stored as.
    pub cache: CacheFormat,
    /// Whether a pass is a step: the keys and values of its one token are stored before its attention. Those of a prompt are stored
    /// after it, also where that has one token.
    pub is_step: bool,
    /// A draw of units in the last place by which every sum of sub-layers is moved; 0: by none. What comes of it is how much the model
    /// makes of roundings, which no computation of it in f32 can avoid.
    pub shaken: u32,
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

/// The sub-layers of a stack that have caches of their own, in order.
fn cache_owners(config: &ModelConfig, stack: Stack) -> impl Iterator<Item = SubLayerPlace> {
    config.ops_of(stack).filter_map(|(place, op)| match op {
        Op::Attention(attention) if attention.kv_from.is_none() => place.at(),
        Op::LatentAttention(_) => place.at(),
        _ => None,
    })
}

/// Which cache each attention reads, in order.
pub(super) fn caches_read(config: &ModelConfig, stack: Stack) -> Vec<usize> {
    let owners: Vec<_> = cache_owners(config, stack).collect();
    let read = config.ops_of(stack).filter_map(|(place, op)| match op {
        Op::Attention(attention) => attention.kv_from.or(place.at()),
        Op::LatentAttention(_) => place.at(),
        _ => None,
    });
    read.map(|place| owners.iter().take_while(|owner| **owner != place).count()).collect()
}

impl Cache {
    /// A cache before the first token.
    pub fn new(config: &ModelConfig) -> Self {
        Self::under(config, Conditions::default())
    }

    /// Whether the passes to come are steps.
    pub(crate) fn set_step(&mut self, is_step: bool) {
        self.conditions.is_step = is_step;
    }

    /// The same under other conditions than none.
    pub fn under(config: &ModelConfig, conditions: Conditions) -> Self {
        let layers = cache_owners(config, Stack::Decoder).count();
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
