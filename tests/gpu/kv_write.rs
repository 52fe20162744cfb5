use wattle::kernels::kv_write::{KvWrite, KvWriteParams};

use crate::harness::{Run, span};
use crate::support::random::Random;

/// The cache after the chunk's rows went to their slots one after the other.
fn written(cache: &[f32], chunk: &[f32], params: &KvWriteParams, position: usize, rows: usize) -> Vec<f32> {
    let (width, slots) = (params.head_dim as usize, params.slots as usize);
    let mut cache = cache.to_vec();
    for (head, chunk) in chunk.chunks(params.chunk_slots as usize * width).enumerate() {
        for row in 0..rows {
            let slot = head * slots + (position + row) % slots;
            cache[slot * width..][..width].copy_from_slice(&chunk[row * width..][..width]);
        }
    }
    cache
}

#[test]
fn rows_go_to_their_slots() {
    // Heads, width, slots, rows a chunk may have, position, rows.
    for (seed, (kv_heads, head_dim, slots, chunk_slots, position, rows)) in [
        (1, 1, 1, 1, 0, 1),
        (1, 64, 40, 16, 0, 16),
        (3, 10, 40, 16, 20, 11),
        (2, 16, 8, 16, 5, 3),
        (2, 16, 8, 16, 5, 4),
        (2, 5, 8, 8, 15, 8),
        (2, 65, 7, 33, 100, 33),
        (1, 3, 1, 5, 9, 5),
        (4, 80, 3, 2, 4_000_000, 2),
    ]
    .into_iter()
    .enumerate()
    {
        let params = KvWriteParams { kv_heads, head_dim, slots, chunk_slots };
        let mut random = Random::new(seed as u64);
        let mut pair = |slots| [(); 2].map(|()| random.gaussian((kv_heads * slots * head_dim) as usize));
        let ([k_chunk, v_chunk], [k_cache, v_cache]) = (pair(chunk_slots), pair(slots));
        let run =
            Run::new(KvWrite { values: true }, params, span(position, rows), format_args!("seed {seed}"));
        let run = run.with("k_chunk", &k_chunk).with("v_chunk", &v_chunk);
        let found = run.with("k_cache", &k_cache).with("v_cache", &v_cache).go();
        found.same("k_cache", &written(&k_cache, &k_chunk, &params, position, rows));
        found.same("v_cache", &written(&v_cache, &v_chunk, &params, position, rows));

        // Keys alone.
        let run =
            Run::new(KvWrite { values: false }, params, span(position, rows), format_args!("seed {seed}"));
        let found = run.with("k_chunk", &k_chunk).with("k_cache", &k_cache).go();
        found.same("k_cache", &written(&k_cache, &k_chunk, &params, position, rows));
    }
}
