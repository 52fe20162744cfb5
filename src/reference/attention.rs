//! Attention with shared key/value heads.

use half::bf16;

use super::matmul::dot;
use super::relative_bias::bucket;
use super::softmax::{softcap_f64, softmax_f64};
use crate::model::config::{Alibi, RelativeBias};

/// The position of a cache slot that holds no token; no query sees it.
pub const EMPTY_SLOT: u32 = u32::MAX;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Whether later keys are hidden.
    pub causal: bool,
    /// Keys a query sees back in time, the one at its own position included; absent: all.
    pub window: Option<u32>,
    /// Tokens of a chunk: a query sees the keys of its own, those whose position divided by it is the same (Llama 4).
    pub chunk: Option<u32>,
}

impl Mask {
    /// Whether the query at position `query` sees the key at position `key`: `key <= query` when causal, and
    /// `query - window < key` with a window (Gemma 2, arXiv 2408.00118; Mistral, arXiv 2310.06825).
    pub fn visible(self, query: u32, key: u32) -> bool {
        let hidden_later = self.causal && key > query;
        let hidden_earlier = self.window.is_some_and(|window| query.saturating_sub(key) >= window);
        let elsewhere = self.chunk.is_some_and(|chunk| query / chunk != key / chunk);
        key != EMPTY_SLOT && !hidden_later && !hidden_earlier && !elsewhere
    }
}

/// The numbers of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Query heads, `H`.
    pub heads: usize,
    /// Key/value heads, `G`; a query head `j` uses head `j / (H / G)`.
    pub kv_heads: usize,
    /// Width of a head, `h`.
    pub head_dim: usize,
    /// Multiplies `q . k`.
    pub scale: f32,
    /// What scores lose with the distance to the key, before the soft cap.
    pub alibi: Option<Alibi>,
    /// Soft cap on the scaled scores, before the mask.
    pub softcap: Option<f32>,
    /// Which keys a query sees.
    pub mask: Mask,
}

/// A number added to the scaled score of a head, `H`, for a key at a distance, its position less the query's.
#[derive(Clone, Copy, Debug)]
pub struct ScoreBias<'a> {
    /// Buckets of distances.
    pub relative: RelativeBias,
    /// Whether later keys have buckets of their own.
    pub both_ways: bool,
    /// `[buckets, H]`.
    pub table: &'a [f32],
}

impl ScoreBias<'_> {
    fn of(&self, head: usize, query: u32, key: u32) -> f64 {
        let bucket = bucket(self.relative, self.both_ways, i64::from(key) - i64::from(query)) as usize;
        let heads = self.table.len() / self.relative.buckets as usize;
        f64::from(self.table[bucket * heads + head])
    }
}

/// Keys or values with where they stand, and what else a query meets.
#[derive(Clone, Copy, Debug)]
pub struct KeyValues<'a> {
    /// Keys, `[Tk, G, h]`, already rotated.
    pub keys: &'a [f32],
    /// Values, `[Tk, G, v]`.
    pub values: &'a [f32],
    /// Absolute position of each, in any order; [`EMPTY_SLOT`] for a slot without a token.
    pub positions: &'a [u32],
    /// A logit of each query head, `[H]`, that takes part in the softmax and has no value (arXiv 2508.10925).
    pub sinks: Option<&'a [f32]>,
    /// What is added to scores.
    pub bias: Option<ScoreBias<'a>>,
}

/// The slope of a head of `heads` (arXiv 2108.12409, section 3): `2^(-8 i / n)` for the i-th of `n` heads, a power of two. Of
/// another number of heads the first `n` have those of the largest power of two among them, and the others every second one
/// of `2 n`, from the first on.
pub fn alibi_slope(heads: usize, head: usize) -> f64 {
    let n = 1 << heads.ilog2();
    let (nth, of) = if head < n { (head + 1, n) } else { (2 * (head - n) + 1, 2 * n) };
    (-8.0 * nth as f64 / of as f64).exp2()
}

/// What is added to a score: `slope (k - q) scale` for positions `q` and `k`.
fn alibi_bias(alibi: Alibi, slope: f64, [q, k]: [u32; 2]) -> f64 {
    let distance = match alibi.bf16 {
        false => slope * (f64::from(k) - f64::from(q)),
        true => {
            let rounded = |x: f32| bf16::from_f32(x).to_f32();
            let at = |position: u32| f64::from(rounded(rounded(slope as f32) * rounded(position as f32)));
            at(k) - at(q)
        }
    };
    distance * f64::from(alibi.scale)
}

/// `o = softmax(mask(softcap(scale * q . k + alibi + bias))) v` (arXiv 1706.03762; shared heads: arXiv 2305.13245), with `q`
/// `[Tq, H, h]`, `o` `[Tq, H, v]` and `q_positions` `[Tq]`. A query that sees no key gets 0. Without any, `v` is `h`.
pub fn attention(layer: &Attention, q: &[f32], q_positions: &[u32], kv: KeyValues) -> Vec<f32> {
    let h = layer.head_dim;
    let queries_per_kv_head = layer.heads / layer.kv_heads;
    let rows = kv.positions.len() * layer.kv_heads;
    let v = kv.values.len().checked_div(rows).unwrap_or(h);
    let mut out = Vec::with_capacity(q.len() / h * v);
    for (t, &q_position) in q_positions.iter().enumerate() {
        for j in 0..layer.heads {
            let q = &q[(t * layer.heads + j) * h..][..h];
            let kv_row = |s: usize| s * layer.kv_heads + j / queries_per_kv_head;
            let score = |(s, &k_position): (usize, &u32)| {
                if !layer.mask.visible(q_position, k_position) {
                    return f64::NEG_INFINITY;
                }
                let slope = layer.alibi.map_or(0.0, |alibi| {
                    alibi_bias(alibi, alibi_slope(layer.heads, j), [q_position, k_position])
                });
                let bias = slope + kv.bias.map_or(0.0, |bias| bias.of(j, q_position, k_position));
                let product = dot(q, &kv.keys[kv_row(s) * h..][..h]);
                softcap_f64(layer.softcap, f64::from(layer.scale) * product + bias)
            };
            let sink = kv.sinks.map(|sinks| f64::from(sinks[j]));
            let weights = softmax_f64(kv.positions.iter().enumerate().map(score).chain(sink).collect());
            for i in 0..v {
                let value = |s: usize| f64::from(kv.values[kv_row(s) * v + i]);
                let keys = weights.iter().enumerate().take(kv.positions.len());
                let seen = keys.filter(|(_, weight)| **weight > 0.0);
                out.push(seen.map(|(s, weight)| weight * value(s)).sum::<f64>() as f32);
            }
        }
    }
    out
}
