// Values before this call from the cache, this call's own from its chunk, as keys are. Needs: IN_CHUNK (keys/chunk).
// Constants: VALUE_DIM.
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;             // [G, slots, VALUE_DIM]
@group(0) @binding(7) var<storage, read> v_chunk: array<f32>;             // [G, chunk_slots, VALUE_DIM]

fn value_base(kv_head: u32, position: u32) -> u32 {
    if position >= span.position {
        return IN_CHUNK | ((kv_head * params.chunk_slots + position - span.position) * VALUE_DIM);
    }
    return (kv_head * params.slots + position % params.slots) * VALUE_DIM;
}

fn value_at(base: u32, d: u32) -> f32 {
    if base >= IN_CHUNK {
        return v_chunk[(base ^ IN_CHUNK) + d];
    }
    return v_cache[base + d];
}
