//! What is measured.

use std::fmt;

use wattle::energy::Phase;
use wattle::fragments::CacheFormat;

/// The heads of a model's attention.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    pub name: &'static str,
    /// Query heads, `H`.
    pub heads: u32,
    /// Key/value heads, `G`.
    pub kv_heads: u32,
    /// Width of a head, `h`.
    pub head_dim: u32,
}

/// Shapes of published models (arXiv 2503.19786, table 1; 2407.21783, table 3; 2311.16867, table 4).
pub const MODELS: [Heads; 5] = [
    Heads { name: "gemma3-1b", heads: 4, kv_heads: 1, head_dim: 256 },
    Heads { name: "gemma3-4b", heads: 8, kv_heads: 4, head_dim: 256 },
    Heads { name: "gemma3-27b", heads: 32, kv_heads: 16, head_dim: 128 },
    Heads { name: "llama3-8b", heads: 32, kv_heads: 8, head_dim: 128 },
    Heads { name: "falcon-7b", heads: 71, kv_heads: 1, head_dim: 64 },
];

/// Tokens that a query sees; none: all before it.
pub const WINDOWS: [Option<u32>; 4] = [None, Some(512), Some(1024), Some(4096)];

/// Tokens of a prompt.
pub const PROMPTS: [u32; 5] = [128, 512, 2048, 8192, 32_768];

/// Tokens in the cache when one more is computed, that one included.
pub const CONTEXTS: [u32; 5] = [128, 1024, 8192, 32_768, 131_072];

/// Sequences that compute one more token each.
pub const BATCHES: [u32; 3] = [1, 8, 32];

/// Attention of one layer, after its projections and rotations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub heads: Heads,
    pub window: Option<u32>,
    pub phase: Phase,
    /// Of a prompt, or in each sequence's cache.
    pub tokens: u32,
    /// Sequences.
    pub batch: u32,
    pub cache: CacheFormat,
}

impl Case {
    /// Slots of a sequence.
    pub fn slots(&self) -> u32 {
        self.window.map_or(self.tokens, |window| window.min(self.tokens))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.window.map_or("global".into(), |window| format!("window {window}"));
        f.pad(&format!("{} {seen}", self.heads.name))
    }
}

/// Everything of some models, caches and phases, at up to so many tokens. A window that reaches over all is no case of its own.
pub fn cases(models: &[Heads], phases: &[Phase], caches: &[CacheFormat], most: u32) -> Vec<Case> {
    let mut cases = Vec::new();
    for (heads, window) in models.iter().flat_map(|heads| WINDOWS.map(|window| (*heads, window))) {
        for (phase, cache) in phases.iter().flat_map(|phase| caches.iter().map(move |cache| (*phase, *cache)))
        {
            let (tokens, batches) = match phase {
                Phase::Prefill => (PROMPTS, &BATCHES[..1]),
                Phase::Decode => (CONTEXTS, &BATCHES[..]),
            };
            let tokens =
                tokens.into_iter().filter(|tokens| *tokens <= most && window.is_none_or(|w| w < *tokens));
            cases.extend(tokens.flat_map(|tokens| {
                batches.iter().map(move |&batch| Case { heads, window, phase, tokens, batch, cache })
            }));
        }
    }
    cases
}
