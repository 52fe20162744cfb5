//! Experts that no router chooses: those of a table, or pseudo-random ones.

use super::sample::random_bits;

/// Rows `keys` of a table `[any, k]` of experts: those of each token, `[n, k]`.
pub fn looked_up(table: &[f32], keys: &[u32], top_k: usize) -> Vec<u32> {
    keys.iter().flat_map(|&key| table[key as usize * top_k..][..top_k].iter().map(|&e| e as u32)).collect()
}

/// For tokens at `positions`, `k` neighbouring experts from a pseudo-random one on, `[n, k]`.
pub fn random_experts(seed: u32, positions: &[u32], experts: u32, top_k: u32) -> Vec<u32> {
    let first = |&position: &u32| random_bits(seed, position, 0) % experts;
    positions.iter().flat_map(|at| (0..top_k).map(move |j| (first(at) + j) % experts)).collect()
}
