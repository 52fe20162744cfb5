//! Token embedding.

/// `y[t] = scale * table[ids[t]]`, with `table` `[V, d]`, `ids` `[n]`, `y` `[n, d]`.
///
/// Gemma scales by `sqrt(d)` (arXiv 2403.08295); most models by 1.
pub fn embed(table: &[f32], d: usize, ids: &[u32], scale: f32) -> Vec<f32> {
    let mut y = Vec::with_capacity(ids.len() * d);
    for &id in ids {
        let row = &table[id as usize * d..][..d];
        y.extend(row.iter().map(|&value| scale * value));
    }
    y
}

/// `x[t] += table[positions[t]]`, with `table` `[context, d]` and `x` `[n, d]`: learned positions (arXiv 1706.03762,
/// section 3.5).
pub fn add_positions(x: &mut [f32], table: &[f32], d: usize, positions: &[u32]) {
    for (x, &position) in x.chunks_exact_mut(d).zip(positions) {
        x.iter_mut().zip(&table[position as usize * d..][..d]).for_each(|(x, added)| *x += added);
    }
}
