//! The attention sub-layer: projections, norms of heads, rotation, cache.

use super::cache::KeysAndValues;
use super::{linear, normed};
use crate::model::config::{self, Norm, NormKind, Temperature};
use crate::reference::attention::{Attention, KeyValues, Mask, ScoreBias, attention};
use crate::reference::norm::norm;
use crate::reference::rope::{rotate, tables};
use crate::reference::weights::AttentionWeights;

pub(super) fn attend(
    op: &config::Attention,
    weights: &AttentionWeights,
    kv: &mut KeysAndValues,
    positions: &[u32],
    bias: Option<ScoreBias<'_>>,
    x: &[f32],
) -> Vec<f32> {
    let d = x.len() / positions.len();
    let (heads, kv_heads, h) = (op.heads as usize, op.kv_heads as usize, op.head_dim as usize);
    let (mut q, mut k) = (linear(&weights.q, x, d), linear(&weights.k, x, d));
    let mut v = weights.v.as_ref().map_or_else(|| k.clone(), |v| linear(v, x, d));
    if let (Some(Norm { eps, .. }), true) = (op.qk_norm, op.v_norm) {
        v = norm(Norm { kind: NormKind::RmsUnweighted, eps }, &v, &vec![1.0; h], None);
    }
    if let (Some(norm), Some(q_norm), Some(k_norm)) = (op.qk_norm, &weights.q_norm, &weights.k_norm) {
        (q, k) = (normed(norm, q_norm, &q), normed(norm, k_norm, &k));
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
    kv.keys.extend(k);
    kv.values.extend(v);
    let key_positions: Vec<u32> = (0..(kv.keys.len() / (kv_heads * h)) as u32).collect();
    let layer = Attention {
        heads,
        kv_heads,
        head_dim: h,
        scale: op.scale,
        softcap: op.softcap,
        mask: Mask { causal: !op.bidirectional, window: op.window, chunk: op.chunk },
    };
    let sinks = weights.sinks.as_deref();
    let kv = KeyValues { keys: &kv.keys, values: &kv.values, positions: &key_positions, sinks, bias };
    linear(&weights.out, &attention(&layer, &q, positions, kv), heads * h)
}

/// K and V of an encoder's output, `[n, d]`, for one cross-attention.
pub(super) fn encoded(weights: &AttentionWeights, x: &[f32], d: usize) -> KeysAndValues {
    let keys = linear(&weights.k, x, d);
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
        softcap: op.softcap,
        mask: Mask::default(),
    };
    let sinks = weights.sinks.as_deref();
    let kv = KeyValues { keys: &kv.keys, values: &kv.values, positions: &key_positions, sinks, bias: None };
    linear(&weights.out, &attention(&layer, &q, positions, kv), heads * h)
}
