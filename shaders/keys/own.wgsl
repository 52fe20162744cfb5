// Keys and values of this call alone, which begins a sequence: k_cache and v_cache are its own, [G, slots, HEAD_DIM].
// Constants: HEAD_DIM, QUERIES, SPREAD.
fn key_base(kv_head: u32, position: u32) -> u32 {
    return (kv_head * params.slots + position) * HEAD_DIM;
}

// A few queries are spread over SPREAD workgroups, many share their keys.
fn queries_per_tile(query_count: u32) -> u32 {
    return clamp((query_count + SPREAD - 1u) / SPREAD, 1u, QUERIES);
}

fn key_at(base: u32, d: u32) -> f32 {
    return k_cache[base + d];
}

fn value_at(base: u32, d: u32) -> f32 {
    return v_cache[base + d];
}
