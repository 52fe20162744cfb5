// Values before this call from the cache, this call's own from its chunk, as keys are. Needs: IN_CHUNK (keys/chunk), cached_value
// (value_rows/*). Constants: VALUE_DIM.
@group(0) @binding(7) var<storage, read> v_chunk: array<f32>;             // [G, chunk_slots, VALUE_DIM]

fn value_at(row: u32, d: u32) -> f32 {
    if row >= IN_CHUNK {
        return v_chunk[(row ^ IN_CHUNK) * VALUE_DIM + d];
    }
    return cached_value(row, d);
}
