// Writes a chunk's keys and values into the cache once attention has read its old entries. A chunk longer than
// a ring writes only what stays. One lane per element.
// Needs: write_value (written_values/*), span. Constants: WORKGROUP_SIZE.
struct Params {
    kv_heads: u32,
    head_dim: u32,
    slots: u32,         // rows per head of the cache
    chunk_slots: u32,   // rows per head of the chunk
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> k_chunk: array<f32>;             // [G, chunk_slots, head_dim]
@group(0) @binding(4) var<storage, read_write> k_cache: array<f32>;       // [G, slots, head_dim]

fn run(workgroup: u32, lane: u32) {
    let kept = min(span.rows, params.slots);
    let i = workgroup * WORKGROUP_SIZE + lane;
    let row_elements = params.kv_heads * params.head_dim;
    if i >= kept * row_elements {
        return;
    }
    let row = span.rows - kept + i / row_elements;
    let kv_head = (i % row_elements) / params.head_dim;
    let d = i % params.head_dim;
    let source_at = (kv_head * params.chunk_slots + row) * params.head_dim + d;
    let slot_at = (kv_head * params.slots + (span.position + row) % params.slots) * params.head_dim + d;
    k_cache[slot_at] = k_chunk[source_at];
    write_value(slot_at, source_at);
}
