//! Holds a kernel against the reference, at a size that the reference can compute.

use wattle::Gpu;
use wattle::energy::Phase;
use wattle::reference::attention::{Attention, KeyValues, Mask, attention};
use wattle::reference::cache_rows::stored;
use wattle::tuning::ProductPath;

use super::attention::case::Case;
use super::attention::layer::{Layer, Numbers, PERIOD};
use super::support::Result;

/// Tokens, of which a window of [`WINDOW`] has left some behind; neither divides anything.
const TOKENS: u32 = 150;
const WINDOW: u32 = 70;

/// Tokens of a prompt's chunk: the last of them reads others from the cache, and is not full.
const CHUNK: u32 = 64;

/// The same heads, phase and cache: every output within the rounding of what it sums.
pub fn check(gpu: &Gpu, case: &Case) -> Result<()> {
    let batch = if case.phase == Phase::Decode { 2 } else { 1 };
    let case = &Case { tokens: TOKENS, window: case.window.map(|_| WINDOW), batch, ..*case };
    let numbers = Numbers::draw(case, CHUNK);
    let mut layer = Layer::new(gpu, case, &numbers, (CHUNK, 1))?;
    layer.run()?;
    let [heads, kv_heads, head_dim] =
        [case.heads.heads, case.heads.kv_heads, case.heads.head_dim].map(|n| n as usize);
    // What the last chunk begins with is not stored yet.
    let (stored_tokens, rows) = match case.phase {
        Phase::Prefill => (TOKENS / CHUNK * CHUNK, TOKENS % CHUNK),
        Phase::Decode => (TOKENS, batch),
    };
    let seen = |numbers: &[f32]| {
        let row = kv_heads * head_dim;
        let tokens = &numbers[..TOKENS.min(PERIOD) as usize * row];
        let (before, own) = tokens.split_at(stored_tokens as usize * row);
        [stored(case.cache, before, head_dim), own.to_vec()].concat()
    };
    let (keys, values) = (seen(&numbers.k), seen(&numbers.v));
    let positions: Vec<u32> = (0..TOKENS).collect();
    let mask = Mask { causal: true, window: case.window, chunk: None };
    let scale = (head_dim as f32).sqrt().recip();
    let of = Attention { heads, kv_heads, head_dim, scale, alibi: None, softcap: None, mask };
    let kv = KeyValues { keys: &keys, values: &values, positions: &positions, sinks: None, bias: None };
    let row = heads * head_dim;
    let q = &numbers.q[..rows as usize * row];
    let expected: Vec<f32> = match case.phase {
        Phase::Prefill => attention(&of, q, &positions[stored_tokens as usize..], kv),
        Phase::Decode => q.chunks(row).flat_map(|q| attention(&of, q, &[TOKENS - 1], kv)).collect(),
    };
    let found = gpu.block_on(layer.out.read::<f32>(gpu, 0, expected.len()))?;
    let most = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    // Scores of a few units, and weights, keys and values, rounded to f16.
    let allowed = if case.path == ProductPath::Matrix { 1e-2 } else { 2e-5 } * most;
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let close = (found - expected).abs() <= allowed;
        if !close {
            return Err(format!("{case}, output {at}: expected {expected} ±{allowed}, found {found}").into());
        }
    }
    Ok(())
}
