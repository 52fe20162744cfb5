// Keys before this call from the cache, this call's own from its chunk: prefill into a ring of exactly
// `window` slots, whose old entries the chunk's first tokens still need.
// Needs: tile_height (height/*), cache_row (cache/*), cached_key, cached_quad (key_rows/*), span. Constants: HEAD_DIM.
@group(0) @binding(6) var<storage, read> k_chunk: array<f32>;             // [G, chunk_slots, HEAD_DIM]
const IN_CHUNK: u32 = 0x80000000u;

fn key_row(own: SequenceSpan, kv_head: u32, position: u32) -> u32 {
    if position >= own.position {
        let row = own.first_row + position - own.position;
        return IN_CHUNK | (kv_head * params.chunk_slots + row);
    }
    return cache_row(own.sequence, kv_head, position);
}

// Tiles of one sequence after those of another.
fn query_tile(workgroup: u32) -> QueryTile {
    let per_head = params.heads / params.kv_heads;
    var tile = workgroup / params.kv_heads;
    for (var own = 0u; own < span.sequences; own += 1u) {
        let queries = span.each[own].rows * per_head;
        let height = tile_height(queries, span.each[own].position + span.each[own].rows);
        let tiles = (queries + height - 1u) / height;
        if tile < tiles {
            let first = tile * height;
            return QueryTile(own, workgroup % params.kv_heads, first, min(height, queries - first), 0u);
        }
        tile -= tiles;
    }
    return QueryTile();
}

fn key_at(row: u32, d: u32) -> f32 {
    if row >= IN_CHUNK {
        return k_chunk[(row ^ IN_CHUNK) * HEAD_DIM + d];
    }
    return cached_key(row, d);
}

fn key_quad(row: u32, quad: u32) -> vec4<f32> {
    if row >= IN_CHUNK {
        let at = (row ^ IN_CHUNK) * HEAD_DIM + 4u * quad;
        return vec4<f32>(k_chunk[at], k_chunk[at + 1u], k_chunk[at + 2u], k_chunk[at + 3u]);
    }
    return cached_quad(row, quad);
}
