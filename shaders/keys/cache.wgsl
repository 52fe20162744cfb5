// Keys from the cache alone: decode, a row of each sequence, where the new ones are written first.
// Needs: cache_row (cache/*), cached_key, cached_quad (key_rows/*), span. Constants: QUERIES.
fn key_row(own: SequenceSpan, kv_head: u32, position: u32) -> u32 {
    return cache_row(own.sequence, kv_head, position);
}

// By part of the keys, then by sequence. There are workgroups for as many parts as any sequence has; each has its part.
fn query_tile(workgroup: u32) -> QueryTile {
    let per_head = params.heads / params.kv_heads;
    let tiles = (per_head + QUERIES - 1u) / QUERIES;
    let of_row = tiles * params.kv_heads;
    let own = (workgroup / of_row) % span.sequences;
    let part = workgroup / of_row / span.sequences;
    let first = (workgroup % tiles) * QUERIES;
    return QueryTile(own, (workgroup / tiles) % params.kv_heads, first, min(QUERIES, per_head - first), part);
}

fn key_at(row: u32, d: u32) -> f32 {
    return cached_key(row, d);
}

fn key_quad(row: u32, quad: u32) -> vec4<f32> {
    return cached_quad(row, quad);
}
