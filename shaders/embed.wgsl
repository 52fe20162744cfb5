// Embedding: y[r] = before[r] + scale * table[entry[r]], by token or by position. One lane per 16 elements.
// An entry beyond the table is its first row.
// A table split over bindings runs once per shard; a shard writes only the rows of its own entries.
// Needs: decode16 (codec/*), entry, before (embed_row/*), span. Constants: WORKGROUP_SIZE.
struct Params {
    in_features: u32,
    row_words: u32,
    blocks: u32,
    block_shift: u32,
    first_token: u32,   // of this shard: a token, or a position
    tokens: u32,        // in this shard
    all_tokens: u32,    // in all shards
    scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;             // [rows, in_features]

fn run(workgroup: u32, lane: u32) {
    let pieces = (params.in_features + 15u) / 16u;
    let i = workgroup * WORKGROUP_SIZE + lane;
    let row = i / pieces;
    if row >= span.rows {
        return;
    }
    let id = select(0u, entry(row), entry(row) < params.all_tokens);
    let token = id - params.first_token;   // wraps below the shard, and then fails the test
    if token >= params.tokens {
        return;
    }
    let first = 16u * (i % pieces);
    let v = decode16(token, i % pieces);
    for (var j = 0u; j < min(16u, params.in_features - first); j += 1u) {
        let at = row * params.in_features + first + j;
        y[at] = before(at) + v[j / 4u][j % 4u] * params.scale;
    }
}
