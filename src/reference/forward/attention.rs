//! The attention sub-layer: projections, norms of heads, rotation, cache.

use super::cache::{Conditions, KeysAndValues};
use super::{linear, normed};
use crate::fragments::CacheFormat;
use crate::model::config::{self, Norm, NormKind, Temperature};
use crate::reference::attention::{Attention, KeyValues, Mask, ScoreBias, attention};
use crate::reference::cache_rows::stored;
use crate::reference::norm::norm;
use crate::reference::rope::{rotate, tables};
use crate::reference::weights::{AttentionWeights, Linear, NormWeights};

/// Each head `[h]` of `x` `[n, H, h]` normed with weights of its own, `[H, h]`.
fn normed_by_head(config: Norm, weights: &NormWeights, [heads, h]: [usize; 2], x: &[f32]) -> Vec<f32> {
    let head = |(n, x): (usize, &[f32])| {
        let at = n % heads * h..(n % heads + 1) * h;
        norm(config, x, &weights.weight[at.clone()], weights.bias.as_ref().map(|bias| &bias[at]))
    };
    x.chunks_exact(h).enumerate().flat_map(head).collect()
}

/// Keys and values go behind those in `kv`; those of another attention are all there already.
pub(super) fn attend(
    op: &config::Attention,
    weights: &AttentionWeights,
    kv: &mut KeysAndValues,
    (positions, conditions): (&[u32], Conditions),
    bias: Option<ScoreBias<'_>>,
    x: &[f32],
) -> Vec<f32> {
    let d = x.len() / positions.len();
    // What sees both ways has no cache.
    let cache = if op.bidirectional { CacheFormat::F32 } else { conditions.cache };
    let (heads, kv_heads, h) = (op.heads as usize, op.kv_heads as usize, op.head_dim as usize);
    let project = |matrix: &Option<Linear>| matrix.as_ref().map(|matrix| linear(matrix, x, d));
    let (mut q, mut k) = (linear(&weights.q, x, d), project(&weights.k).unwrap_or_default());
    let mut v = project(&weights.v).unwrap_or_else(|| k.clone());
    if let (Some(Norm { eps, .. }), true) = (op.qk_norm, op.v_norm) {
        v = norm(Norm { kind: NormKind::RmsUnweighted, eps }, &v, &vec![1.0; h], None);
    }
    for (x, weights, heads) in [(&mut q, &weights.q_norm, heads), (&mut k, &weights.k_norm, kv_heads)] {
        if let (Some(norm), Some(weights)) = (op.qk_norm, weights) {
            *x = match op.qk_norm_by_head {
                true => normed_by_head(norm, weights, [heads, h], x),
                false => normed(norm, weights, x),
            };
        }
    }
    let clip = op.qkv_clip.unwrap_or(f32::INFINITY);
    [&mut q, &mut k, &mut v].into_iter().flatten().for_each(|x| *x = x.clamp(-clip, clip));
    if let Some(rope) = &op.rope {
        let (cos, sin) = tables(rope, positions);
        rotate(rope, &mut q, heads, h, &cos, &sin);
        rotate(rope, &mut k, kv_heads, h, &cos, &sin);
    }
    if let Some(Temperature { scale, floor }) = op.temperature {
        for (q, position) in q.chunks_exact_mut(heads * h).zip(positions) {
            let factor = 1.0 + f64::from(scale) * f64::from((position + 1) / floor).ln_1p();
            q.iter_mut().for_each(|q| *q = (f64::from(*q) * factor) as f32);
        }
    }
    if conditions.is_step {
        [&mut k, &mut v].into_iter().for_each(|rows| *rows = stored(cache, rows, h));
    }
    let before = kv.keys.len();
    kv.keys.extend(k);
    kv.values.extend(v);
    let key_positions: Vec<u32> = (0..(kv.keys.len() / (kv_heads * h)) as u32).collect();
    let layer = Attention {
        heads,
        kv_heads,
        head_dim: h,
        scale: op.scale,
        alibi: op.alibi,
        softcap: op.softcap,
        mask: Mask { causal: !op.bidirectional, window: op.window, chunk: op.chunk },
    };
    let sinks = weights.sinks.as_deref();
    let all = KeyValues { keys: &kv.keys, values: &kv.values, positions: &key_positions, sinks, bias };
    let mixed = attention(&layer, &q, positions, all);
    for rows in [&mut kv.keys, &mut kv.values] {
        let own = stored(cache, &rows[before..], h);
        rows[before..].copy_from_slice(&own);
    }
    linear(&weights.out, &mixed, heads * h)
}

/// K and V of an encoder's output, `[n, d]`, for one cross-attention.
pub(super) fn encoded(weights: &AttentionWeights, x: &[f32], d: usize) -> KeysAndValues {
    let keys = weights.k.as_ref().map(|k| linear(k, x, d)).unwrap_or_default();
    let values = weights.v.as_ref().map_or_else(|| keys.clone(), |v| linear(v, x, d));
    KeysAndValues { keys, values }
}

/// Attention to all that an encoder gave.
pub(super) fn attend_across(
    op: &config::Attention,
    weights: &AttentionWeights,
    kv: &KeysAndValues,
    positions: &[u32],
    x: &[f32],
) -> Vec<f32> {
    let (heads, kv_heads, h) = (op.heads as usize, op.kv_heads as usize, op.head_dim as usize);
    let q = linear(&weights.q, x, x.len() / positions.len());
    let key_positions: Vec<u32> = (0..(kv.keys.len() / (kv_heads * h)) as u32).collect();
    let layer = Attention {
        heads,
        kv_heads,
        head_dim: h,
        scale: op.scale,
        alibi: None,
        softcap: op.softcap,
        mask: Mask::default(),
    };
    let sinks = weights.sinks.as_deref();
    let kv = KeyValues { keys: &kv.keys, values: &kv.values, positions: &key_positions, sinks, bias: None };
    linear(&weights.out, &attention(&layer, &q, positions, kv), heads * h)
}
