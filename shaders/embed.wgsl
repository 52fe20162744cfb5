// Token embedding: y[r] = scale * table[token[r]]. One lane per 16 elements.
// A token beyond the table has its first row.
// A table split over bindings runs once per shard; a shard writes only the rows of its own tokens.
// Needs: decode16 (codec/*), span. Constants: WORKGROUP_SIZE.
struct Params {
    in_features: u32,
    row_words: u32,
    blocks: u32,
    block_shift: u32,
    first_token: u32,   // of this shard
    tokens: u32,        // in this shard
    all_tokens: u32,    // in all shards
    scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> token_ids: array<u32>;           // [rows]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;             // [rows, in_features]

fn run(workgroup: u32, lane: u32) {
    let pieces = (params.in_features + 15u) / 16u;
    let i = workgroup * WORKGROUP_SIZE + lane;
    let row = i / pieces;
    if row >= span.rows {
        return;
    }
    let id = select(0u, token_ids[row], token_ids[row] < params.all_tokens);
    let token = id - params.first_token;   // wraps below the shard, and then fails the test
    if token >= params.tokens {
        return;
    }
    let first = 16u * (i % pieces);
    let v = decode16(token, i % pieces);
    for (var j = 0u; j < min(16u, params.in_features - first); j += 1u) {
        y[row * params.in_features + first + j] = v[j / 4u][j % 4u] * params.scale;
    }
}
