//! Attention of one layer: tokens, heads, and what a token sees.

use wattle::energy::Phase;
use wattle::fragments::CacheFormat;
use wattle::tuning::ProductPath;

use crate::attention::case::{Case, Heads, MODELS, cases};

/// The numbers of an attention, as everybody is told them.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Sequences that compute at the same time.
    pub sequences: u32,
    /// Queries of each: the last of its tokens.
    pub rows: u32,
    /// Tokens of each that have keys.
    pub tokens: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub width: u32,
    /// Tokens that a query sees, its own included; 0: all before it.
    pub window: u32,
}

/// Small enough for a software driver: prompts, and sequences and tokens of steps.
const PROMPTS: [u32; 2] = [128, 512];
const STEPS: [[u32; 2]; 3] = [[1, 512], [1, 4096], [8, 512]];

/// A prompt that is longer than its window.
const LOCAL: [u32; 2] = [1024, 512];

/// Heads of these, one with a window.
const SMALL: [&str; 3] = ["gemma3-1b", "llama3-8b", "falcon-7b"];

/// Small ones, or those of models.
pub fn all(models: bool) -> Vec<Case> {
    if models {
        let phases = [Phase::Prefill, Phase::Decode];
        return cases((&MODELS, &phases), (&[CacheFormat::F32], &[ProductPath::Matrix]), u32::MAX);
    }
    let mut all = Vec::new();
    for heads in MODELS.into_iter().filter(|heads| SMALL.contains(&heads.name)) {
        all.extend(STEPS.map(|[sequences, tokens]| step(heads, sequences, tokens)));
        all.extend(PROMPTS.map(|tokens| prompt(heads, tokens, None)));
        let [tokens, window] = LOCAL;
        all.extend(heads.window.map(|_| prompt(heads, tokens, Some(window))));
    }
    all
}

/// `8x4096x32x8x128`, `0x1024x32x8x128x512`, or what is wrong with it.
pub fn parse(text: &str) -> Result<Case, String> {
    let numbers = text.split('x').map(str::parse).collect::<Result<Vec<u32>, _>>();
    let (sequences, tokens, heads, window) = match numbers.as_deref() {
        Ok(&[sequences, tokens, heads, kv_heads, head_dim, ref window @ ..]) if window.len() < 2 => {
            let heads = Heads { name: "heads", heads, kv_heads, head_dim, window: None };
            (sequences, tokens, heads, window.first().copied())
        }
        _ => {
            return Err(format!(
                "'{text}' is no attention; one is 8x4096x32x8x128: sequences of a step or 0 for a prompt, tokens, heads, \
                 key/value heads, width of a head, and where there is one, a window"
            ));
        }
    };
    let is_possible = tokens > 0 && heads.kv_heads > 0 && heads.heads.is_multiple_of(heads.kv_heads);
    match (sequences, window) {
        _ if !is_possible || heads.heads == 0 || heads.head_dim == 0 || window == Some(0) => {
            Err(format!("'{text}': nothing is 0, and each key/value head has as many query heads"))
        }
        (0, window) => Ok(prompt(heads, tokens, window)),
        (sequences, None) => Ok(step(heads, sequences, tokens)),
        (_, Some(_)) => Err(format!("'{text}': of a window a step sees all, so its tokens say it")),
    }
}

fn step(heads: Heads, batch: u32, tokens: u32) -> Case {
    let path = ProductPath::Float;
    Case { heads, window: None, phase: Phase::Decode, tokens, batch, cache: CacheFormat::F32, path }
}

fn prompt(heads: Heads, tokens: u32, window: Option<u32>) -> Case {
    let path = ProductPath::Matrix;
    Case { heads, window, phase: Phase::Prefill, tokens, batch: 1, cache: CacheFormat::F32, path }
}

impl Shape {
    /// A step sees all that its window has left in the cache.
    pub fn of(case: Case) -> Self {
        let Heads { heads, kv_heads, head_dim: width, .. } = case.heads;
        let (rows, tokens, window) = match case.phase {
            Phase::Decode => (1, case.slots(), 0),
            Phase::Prefill => (case.tokens, case.tokens, case.window.unwrap_or(0)),
        };
        Self { sequences: case.batch, rows, tokens, heads, kv_heads, width, window }
    }

    /// For people.
    pub fn title(self) -> String {
        let Self { sequences, rows, tokens, heads, kv_heads, width, window } = self;
        let of = format!("{heads}/{kv_heads} of {width}");
        match (rows, window) {
            (1, _) => format!("{sequences} x {tokens}, {of}"),
            (_, 0) => format!("{tokens}, {of}"),
            _ => format!("{tokens}, {of}, w {window}"),
        }
    }

    /// Whether the query of a row of its sequence sees a token.
    pub fn sees(self, row: u32, token: u32) -> bool {
        let position = self.tokens - self.rows + row;
        token <= position && (self.window == 0 || position - token < self.window)
    }
}
