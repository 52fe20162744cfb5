// Keys and values of an encoder's tokens as they come out of their projection, beside each other; the call has one sequence.
// Where values are the keys there is one of them. Needs: tile_height (height/*). Constants: HEAD_DIM, KEY_HEADS.
@group(0) @binding(3) var<storage, read> k_cache: array<f32>;             // [slots, KEY_HEADS, G, HEAD_DIM]: keys, then values
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;             // the same

fn key_row(own: SequenceSpan, kv_head: u32, position: u32) -> u32 {
    return position * KEY_HEADS * params.kv_heads + kv_head;
}

// By part of the keys, which only a step divides.
fn query_tile(workgroup: u32) -> QueryTile {
    let queries = span.each[0].rows * (params.heads / params.kv_heads);
    let height = tile_height(queries, params.slots);
    let tiles = (queries + height - 1u) / height;
    let tile = workgroup / params.kv_heads;
    let first = tile % tiles * height;
    return QueryTile(0u, workgroup % params.kv_heads, first, min(height, queries - first), tile / tiles);
}

fn value_at(row: u32, d: u32) -> f32 {
    return v_cache[(row + (KEY_HEADS - 1u) * params.kv_heads) * HEAD_DIM + d];
}

fn key_quad(row: u32, quad: u32) -> vec4<f32> {
    let at = row * HEAD_DIM + 4u * quad;
    return vec4<f32>(k_cache[at], k_cache[at + 1u], k_cache[at + 2u], k_cache[at + 3u]);
}
