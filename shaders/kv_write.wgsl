// Writes a chunk's keys and values into the cache once attention has read its old entries. A chunk longer than
// a ring writes only what stays. One workgroup per (row, key/value head).
// Needs: cache_row (cache/*), store_row (kv_store/*), span, sequence_of (common/span). Constants: WORKGROUP_SIZE, HEAD_DIM, RING.
struct Params {
    kv_heads: u32,
    slots: u32,         // rows per head of a sequence's cache, or of a page
    pages: u32,         // that a sequence may have
    chunk_slots: u32,   // rows per head of the chunk
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> k_chunk: array<f32>;             // [G, chunk_slots, HEAD_DIM]
@group(0) @binding(3) var<storage, read> v_chunk: array<f32>;             // [G, chunk_slots, HEAD_DIM]

var<workgroup> stored_head: array<f32, HEAD_DIM>;

fn run(workgroup: u32, lane: u32) {
    let row = workgroup / params.kv_heads;
    let kv_head = workgroup % params.kv_heads;
    if row >= span.rows {
        return;
    }
    let own = span.each[sequence_of(row)];
    // A ring keeps the last of them.
    if RING && own.first_row + own.rows - row > params.slots {
        return;
    }
    let source_at = (kv_head * params.chunk_slots + row) * HEAD_DIM;
    let slot_row = cache_row(own.sequence, kv_head, own.position + row - own.first_row);
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        stored_head[d] = k_chunk[source_at + d];
    }
    workgroupBarrier();
    store_row(false, slot_row, lane);
    workgroupBarrier();
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        stored_head[d] = v_chunk[source_at + d];
    }
    workgroupBarrier();
    store_row(true, slot_row, lane);
}
