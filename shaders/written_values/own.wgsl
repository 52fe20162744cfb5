// Values have a chunk and a cache of their own. Needs: params.chunk_slots.
@group(0) @binding(3) var<storage, read> v_chunk: array<f32>;             // [G, chunk_slots, HEAD_DIM]
const HAS_VALUES: bool = true;

fn chunk_value(at: u32) -> f32 {
    return v_chunk[at];
}
