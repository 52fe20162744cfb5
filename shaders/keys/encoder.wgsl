// Keys and values of an encoder's tokens as they come out of their projection, beside each other: k_cache and v_cache are both
// [slots, KEY_HEADS, G, HEAD_DIM], keys first, values last; where values are the keys there is one of them.
// Constants: HEAD_DIM, KEY_HEADS, QUERIES, SPREAD.
fn key_base(kv_head: u32, position: u32) -> u32 {
    return (position * KEY_HEADS * params.kv_heads + kv_head) * HEAD_DIM;
}

// A few queries of a prompt are spread over SPREAD workgroups, many share their keys. A step has its keys to divide.
fn queries_per_tile(query_count: u32) -> u32 {
    return clamp((query_count + SPREAD - 1u) / SPREAD, 1u, QUERIES);
}

fn key_at(base: u32, d: u32) -> f32 {
    return k_cache[base + d];
}

fn value_at(base: u32, d: u32) -> f32 {
    return v_cache[base + (KEY_HEADS - 1u) * params.kv_heads * HEAD_DIM + d];
}
