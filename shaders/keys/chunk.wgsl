// Keys before this call from the cache, this call's own from its chunk: prefill into a ring of exactly
// `window` slots, whose old entries the chunk's first tokens still need.
// Constants: HEAD_DIM, QUERIES, SPREAD.
@group(0) @binding(6) var<storage, read> k_chunk: array<f32>;             // [G, chunk_slots, HEAD_DIM]
const IN_CHUNK: u32 = 0x80000000u;

fn key_base(kv_head: u32, position: u32) -> u32 {
    if position >= span.position {
        return IN_CHUNK | ((kv_head * params.chunk_slots + position - span.position) * HEAD_DIM);
    }
    return (kv_head * params.slots + position % params.slots) * HEAD_DIM;
}

// A few queries are spread over SPREAD workgroups, many share their keys.
fn queries_per_tile(query_count: u32) -> u32 {
    return clamp((query_count + SPREAD - 1u) / SPREAD, 1u, QUERIES);
}

fn key_at(base: u32, d: u32) -> f32 {
    if base >= IN_CHUNK {
        return k_chunk[(base ^ IN_CHUNK) + d];
    }
    return k_cache[base + d];
}
