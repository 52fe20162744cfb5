// Writes a chunk's keys and values into the cache once attention has read its old entries. A chunk longer than
// a ring writes only what stays. One lane per element.
// Needs: cache_row (cache/*), span, sequence_of (common/span). Constants: WORKGROUP_SIZE, RING.
struct Params {
    kv_heads: u32,
    head_dim: u32,
    slots: u32,         // rows per head of a sequence's cache, or of a page
    pages: u32,         // that a sequence may have
    chunk_slots: u32,   // rows per head of the chunk
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> k_chunk: array<f32>;             // [G, chunk_slots, head_dim]
@group(0) @binding(3) var<storage, read> v_chunk: array<f32>;             // [G, chunk_slots, head_dim]
@group(0) @binding(4) var<storage, read_write> k_cache: array<f32>;       // [any, G, slots, head_dim]
@group(0) @binding(5) var<storage, read_write> v_cache: array<f32>;       // [any, G, slots, head_dim]

fn run(workgroup: u32, lane: u32) {
    let i = workgroup * WORKGROUP_SIZE + lane;
    let row_elements = params.kv_heads * params.head_dim;
    let row = i / row_elements;
    if row >= span.rows {
        return;
    }
    let own = span.each[sequence_of(row)];
    // A ring keeps the last of them.
    if RING && own.first_row + own.rows - row > params.slots {
        return;
    }
    let kv_head = (i % row_elements) / params.head_dim;
    let d = i % params.head_dim;
    let source_at = (kv_head * params.chunk_slots + row) * params.head_dim + d;
    let slot_at = cache_row(own.sequence, kv_head, own.position + row - own.first_row) * params.head_dim + d;
    k_cache[slot_at] = k_chunk[source_at];
    v_cache[slot_at] = v_chunk[source_at];
}
