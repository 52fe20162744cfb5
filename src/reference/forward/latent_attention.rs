//! The sub-layer of attention over latents, in its plain form: every head has keys and values of its own. What a cache stores is the
//! latent and the key that is rotated, of which they are made.

use super::cache::{Conditions, KeysAndValues};
use super::{linear, normed};
use crate::model::config::{LatentAttention, Rope};
use crate::reference::attention::{Attention, KeyValues, Mask, attention};
use crate::reference::cache_rows::stored;
use crate::reference::rope::{rotate, tables};
use crate::reference::weights::LatentAttentionWeights;

/// Multi-head latent attention (arXiv 2405.04434, equations 9 to 19) of `x`, `[T, d]`: latents are normed, and the last
/// `rotary_dim` elements of each head's query and of the key that all share are rotated.
pub(super) fn attend_latents(
    op: &LatentAttention,
    weights: &LatentAttentionWeights,
    kv: &mut KeysAndValues,
    (positions, conditions): (&[u32], Conditions),
    x: &[f32],
) -> Vec<f32> {
    let d = x.len() / positions.len();
    let (heads, latent_width) = (op.heads as usize, op.kv_latent as usize);
    let [nope_dim, rotary_dim, head_dim, value_dim] =
        [op.nope_dim, op.rope.rotary_dim, op.head_dim(), op.value_dim].map(|n| n as usize);
    let mut q = match &weights.q_latent {
        Some((down, norm)) => {
            let latent = normed(op.latent_norm, norm, &linear(down, x, d));
            let width = latent.len() / positions.len();
            linear(&weights.q, &latent, width)
        }
        None => linear(&weights.q, x, d),
    };
    for (head, position) in q.chunks_exact_mut(head_dim).zip(positions.iter().flat_map(|p| vec![*p; heads])) {
        rotate_one(&op.rope, &mut head[nope_dim..], position);
    }
    let projected = linear(&weights.kv_latent, x, d);
    let width = latent_width + rotary_dim;
    let row = |(row, position): (&[f32], &u32)| {
        let (latent, shared) = row.split_at(latent_width);
        let mut row = normed(op.latent_norm, &weights.kv_norm, latent);
        row.extend(shared);
        rotate_one(&op.rope, &mut row[latent_width..], *position);
        row
    };
    let rows: Vec<f32> = projected.chunks_exact(width).zip(positions).flat_map(row).collect();
    let put = |kv: &mut KeysAndValues, rows: &[f32]| {
        for (latent, shared) in rows.chunks_exact(width).map(|row| row.split_at(latent_width)) {
            for key in linear(&weights.k, latent, latent_width).chunks_exact(nope_dim) {
                kv.keys.extend(key.iter().chain(shared));
            }
            kv.values.extend(linear(&weights.v, latent, latent_width));
        }
    };
    let before = [kv.keys.len(), kv.values.len()];
    let in_cache = stored(conditions.cache, &rows, width);
    put(kv, if conditions.is_step { &in_cache } else { &rows });
    let key_positions: Vec<u32> = (0..(kv.keys.len() / (heads * head_dim)) as u32).collect();
    let mask = Mask { causal: true, window: None, chunk: None };
    let layer =
        Attention { heads, kv_heads: heads, head_dim, scale: op.scale, alibi: None, softcap: None, mask };
    let all =
        KeyValues { keys: &kv.keys, values: &kv.values, positions: &key_positions, sinks: None, bias: None };
    let mixed = attention(&layer, &q, positions, all);
    if !conditions.is_step {
        kv.keys.truncate(before[0]);
        kv.values.truncate(before[1]);
        put(kv, &in_cache);
    }
    linear(&weights.out, &mixed, heads * value_dim)
}

fn rotate_one(rope: &Rope, x: &mut [f32], position: u32) {
    let (cos, sin) = tables(rope, &[position]);
    rotate(rope, x, 1, x.len(), &cos, &sin);
}
