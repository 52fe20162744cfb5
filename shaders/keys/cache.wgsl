// Keys from the cache alone: decode, where the new ones are written first. A ring wraps by position.
// Constants: HEAD_DIM, QUERIES.
fn key_base(kv_head: u32, position: u32) -> u32 {
    return (kv_head * params.slots + position % params.slots) * HEAD_DIM;
}

// Workgroups enough: each has its part of the keys.
fn queries_per_tile(query_count: u32) -> u32 {
    return QUERIES;
}

fn key_at(base: u32, d: u32) -> f32 {
    return k_cache[base + d];
}
