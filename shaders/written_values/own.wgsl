// Values as wide as keys, in a chunk and a cache of their own.
@group(0) @binding(3) var<storage, read> v_chunk: array<f32>;             // [G, chunk_slots, head_dim]
@group(0) @binding(5) var<storage, read_write> v_cache: array<f32>;       // [G, slots, head_dim]

fn write_value(slot_at: u32, source_at: u32) {
    v_cache[slot_at] = v_chunk[source_at];
}
