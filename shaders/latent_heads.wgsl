// Queries and keys of multi-head latent attention as one key/value head sees them (arXiv 2405.04434, section 2.1): a key is
// the normed latent of its token and the part that all heads rotate alike, and a query takes the heads' matrices in.
//   q_out[r, h] = [ sum_i q[r, h, i] w[h, i], rotate(q[r, h, nope_dim ..]) ]
//   k_out[r]    = [ rms(latent[r]) * latent_norm, rotate(latent[r, in_features ..]) ]
// A block of ROWS tokens has, for each head, a workgroup for every PIECES pieces of 16 elements, and one for each key. Lanes
// divide the sum over i, so that a row of w is read as it lies, and is decoded once for the block.
// Needs: decode16 (codec/*), rotation_pair (rotate/*), workgroup_sum (reduce/*), store_row (kv_store/*), span, sequence_of, position_of
// (common/span). Constants: WORKGROUP_SIZE, ROWS, HEAD_DIM (in_features + rotary_dim), TO_CACHE.
struct Params {
    heads: u32,
    nope_dim: u32,      // elements of a query's head that are not rotated
    rotary_dim: u32,    // elements that are
    in_features: u32,   // of the latent, and so of a row of w
    row_words: u32,
    blocks: u32,
    block_shift: u32,
    slots: u32,         // rows of the keys, of each sequence where they are the cache
    eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> q: array<f32>;                   // [rows, H, nope_dim + rotary_dim]
@group(0) @binding(9) var<storage, read> latent: array<f32>;              // [rows, in_features + rotary_dim]
@group(0) @binding(6) var<storage, read> latent_norm: array<f32>;         // [in_features]
@group(0) @binding(7) var<storage, read> rope_table: array<vec2<f32>>;    // [positions, rotary_dim / 2]: cos, sin
@group(0) @binding(8) var<storage, read_write> q_out: array<f32>;         // [rows, H, in_features + rotary_dim]
const PIECES: u32 = 16u;
const SHARES: u32 = WORKGROUP_SIZE / PIECES;

var<workgroup> sums: array<mat4x4<f32>, WORKGROUP_SIZE>;
var<workgroup> stored_head: array<f32, HEAD_DIM>;

fn run(workgroup: u32, lane: u32) {
    let tiles = (params.in_features + 16u * PIECES - 1u) / (16u * PIECES);
    let of_queries = params.heads * tiles;
    let first_row = workgroup / (of_queries + ROWS) * ROWS;
    let part = workgroup % (of_queries + ROWS);
    if part < of_queries {
        query(first_row, part / tiles, part % tiles, lane);
    } else {
        key(first_row + part - of_queries, lane);
    }
}

fn query(first_row: u32, head: u32, tile: u32, lane: u32) {
    let piece = tile * PIECES + lane % PIECES;
    let head_dim = params.nope_dim + params.rotary_dim;
    let row_width = params.heads * head_dim;
    let last_row = max(span.rows, 1u) - 1u;
    var acc: array<mat4x4<f32>, ROWS>;
    if 16u * piece < params.in_features {
        for (var i = lane / PIECES; i < params.nope_dim; i += SHARES) {
            let w = decode16(head * params.nope_dim + i, piece);
            for (var r = 0u; r < ROWS; r += 1u) {
                // Beyond the last row it is computed again, and dropped.
                acc[r] += q[min(first_row + r, last_row) * row_width + head * head_dim + i] * w;
            }
        }
    }
    let width = params.in_features + params.rotary_dim;
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = first_row + r;
        let out_at = (row * params.heads + head) * width;
        workgroupBarrier();
        sums[lane] = acc[r];
        workgroupBarrier();
        if row < span.rows {
            // A column of each piece, so that no lane idles.
            let column = lane / PIECES;
            var sum = vec4<f32>();
            for (var share = 0u; share < SHARES; share += 1u) {
                sum += sums[share * PIECES + lane % PIECES][column];
            }
            for (var j = 0u; j < 4u; j += 1u) {
                let d = 16u * piece + 4u * column + j;
                if d < params.in_features {
                    q_out[out_at + d] = sum[j];
                }
            }
            if tile == 0u {
                let at = row * row_width + head * head_dim + params.nope_dim;
                for (var d = lane; d < params.rotary_dim; d += WORKGROUP_SIZE) {
                    let pair = rotation_pair(d);
                    let angle = angle_of(row, pair.index);
                    q_out[out_at + params.in_features + d] =
                        q[at + d] * angle.x + pair.sign * q[at + pair.partner] * angle.y;
                }
            }
        }
    }
}

fn key(row: u32, lane: u32) {
    let width = params.in_features + params.rotary_dim;
    let is_row = row < span.rows;
    let at = min(row, max(span.rows, 1u) - 1u) * width;
    var square = 0.0;
    for (var d = lane; d < params.in_features; d += WORKGROUP_SIZE) {
        square += latent[at + d] * latent[at + d];
    }
    let scale = inverseSqrt(workgroup_sum(square, lane) / f32(params.in_features) + params.eps);
    if !is_row {
        return;
    }
    for (var d = lane; d < params.in_features; d += WORKGROUP_SIZE) {
        stored_head[d] = latent[at + d] * scale * latent_norm[d];
    }
    let rotated = at + params.in_features;
    for (var d = lane; d < params.rotary_dim; d += WORKGROUP_SIZE) {
        let pair = rotation_pair(d);
        let angle = angle_of(row, pair.index);
        stored_head[params.in_features + d] =
            latent[rotated + d] * angle.x + pair.sign * latent[rotated + pair.partner] * angle.y;
    }
    workgroupBarrier();
    // Into the cache by position; into a chunk's own buffer by row.
    let slot = span.each[sequence_of(row)].sequence * params.slots + position_of(row) % params.slots;
    store_row(false, select(row, slot, TO_CACHE), lane);
}

fn angle_of(row: u32, pair: u32) -> vec2<f32> {
    return rope_table[position_of(row) * (params.rotary_dim / 2u) + pair];
}
