//! What is measured.

use std::fmt;

use wattle::energy::Phase;
use wattle::fragments::CacheFormat;
use wattle::tuning::ProductPath;

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
    /// Tokens that a local layer sees, where the model has such layers.
    pub window: Option<u32>,
}

/// Shapes of published models (arXiv 2503.19786, table 1; 2407.21783, table 3; 2311.16867, table 4).
pub const MODELS: [Heads; 5] = [
    Heads { name: "gemma3-1b", heads: 4, kv_heads: 1, head_dim: 256, window: Some(512) },
    Heads { name: "gemma3-4b", heads: 8, kv_heads: 4, head_dim: 256, window: Some(1024) },
    Heads { name: "gemma3-27b", heads: 32, kv_heads: 16, head_dim: 128, window: Some(1024) },
    Heads { name: "llama3-8b", heads: 32, kv_heads: 8, head_dim: 128, window: None },
    Heads { name: "falcon-7b", heads: 71, kv_heads: 1, head_dim: 64, window: None },
];

/// Tokens that a query sees; none: all before it.
pub const WINDOWS: [Option<u32>; 4] = [None, Some(512), Some(1024), Some(4096)];

/// Tokens of a prompt.
pub const PROMPTS: [u32; 5] = [128, 512, 2048, 8192, 32_768];

/// Tokens in the cache when one more is computed, that one included.
pub const CONTEXTS: [u32; 6] = [128, 512, 2048, 8192, 32_768, 131_072];

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
    /// Of a prompt: on lanes, or on cooperative matrices.
    pub path: ProductPath,
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

/// Everything of some models, phases, caches and paths, at up to so many tokens. A window that reaches over all is no case of its own,
/// nor is a step on matrices.
pub fn cases(
    (models, phases): (&[Heads], &[Phase]),
    (caches, paths): (&[CacheFormat], &[ProductPath]),
    most: u32,
) -> Vec<Case> {
    let mut cases = Vec::new();
    let kinds = models.iter().flat_map(|heads| WINDOWS.map(|window| (*heads, window)));
    let ways = phases.iter().flat_map(|phase| caches.iter().map(move |cache| (*phase, *cache)));
    for ((heads, window), (phase, cache)) in kinds.flat_map(|kind| ways.clone().map(move |way| (kind, way))) {
        let (tokens, batches, paths) = match phase {
            Phase::Prefill => (&PROMPTS[..], &BATCHES[..1], paths),
            Phase::Decode => (&CONTEXTS[..], &BATCHES[..], &[ProductPath::Float][..]),
        };
        let tokens =
            tokens.iter().copied().filter(|tokens| *tokens <= most && window.is_none_or(|w| w < *tokens));
        for (tokens, path) in tokens.flat_map(|tokens| paths.iter().map(move |path| (tokens, *path))) {
            let of = |&batch| Case { heads, window, phase, tokens, batch, cache, path };
            cases.extend(batches.iter().map(of));
        }
    }
    cases
}
