// Values from the cache alone, where keys are. Constants: VALUE_DIM.
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;             // [G, slots, VALUE_DIM]

fn value_base(kv_head: u32, position: u32) -> u32 {
    return (kv_head * params.slots + position % params.slots) * VALUE_DIM;
}

fn value_at(base: u32, d: u32) -> f32 {
    return v_cache[base + d];
}
