//! Biases of attention's scores by how far a key is from its query (T5, arXiv 1910.10683, section 2.1).

use crate::model::config::RelativeBias;

/// The bucket of a key at `key - query = distance`. Of `n` buckets on a side, those of the first `n / 2` distances hold one
/// each, the others distances of equal ratios up to `max_distance`, and the last all from there on. Where there are two sides,
/// keys that come later have the second half; else they have the bucket of distance 0, as nothing sees them.
pub fn bucket(bias: RelativeBias, both_ways: bool, distance: i64) -> u32 {
    let each_way = bias.buckets_each_way(both_ways);
    let later = if both_ways && distance > 0 { each_way } else { 0 };
    let far = if both_ways { distance.unsigned_abs() } else { (-distance).max(0).unsigned_abs() };
    let exact = each_way / 2;
    if far < u64::from(exact) {
        return later + far as u32;
    }
    // In f32, as the models were trained: at a border, rounding decides.
    let ratio = (far as f32 / exact as f32).ln();
    let most = (f64::from(bias.max_distance) / f64::from(exact)).ln() as f32;
    let step = (ratio / most * (each_way - exact) as f32) as u32;
    later + (exact + step).min(each_way - 1)
}

/// The bias of every distance from `-D` to `D`, `[H, 2 D + 1]`, where `D` is the largest that differs from those beyond it; of a
/// table by bucket, `[buckets, H]`.
pub fn by_distance(bias: RelativeBias, both_ways: bool, table: &[f32]) -> Vec<f32> {
    let heads = table.len() / bias.buckets as usize;
    let most = i64::from(bias.max_distance);
    let of = |head: usize| {
        (-most..=most).map(move |distance| table[bucket(bias, both_ways, distance) as usize * heads + head])
    };
    (0..heads).flat_map(of).collect()
}
