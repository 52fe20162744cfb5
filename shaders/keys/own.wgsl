// Keys and values of this call alone, which begins a sequence, the only one of the call.
// Needs: tile_height (height/*). Constants: HEAD_DIM.
@group(0) @binding(3) var<storage, read> k_cache: array<f32>;             // [G, slots, HEAD_DIM], and so are values
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;

fn key_row(own: SequenceSpan, kv_head: u32, position: u32) -> u32 {
    return kv_head * params.slots + position;
}

fn query_tile(workgroup: u32) -> QueryTile {
    let queries = span.each[0].rows * (params.heads / params.kv_heads);
    let height = tile_height(queries, span.each[0].rows);
    let first = workgroup / params.kv_heads * height;
    if first >= queries {
        return QueryTile();
    }
    return QueryTile(0u, workgroup % params.kv_heads, first, min(height, queries - first), 0u);
}

fn value_at(row: u32, d: u32) -> f32 {
    return v_cache[row * HEAD_DIM + d];
}

fn key_quad(row: u32, quad: u32) -> vec4<f32> {
    let at = row * HEAD_DIM + 4u * quad;
    return vec4<f32>(k_cache[at], k_cache[at + 1u], k_cache[at + 2u], k_cache[at + 3u]);
}
