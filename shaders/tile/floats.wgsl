// Inputs and weights of a tile as floats, DEPTH inputs at a time.
// Needs: decode16 (codec/*), load4 (linear/input*), input_at (tile_rows/*). Constants: TILE_ROWS,
// TILE_OUTPUTS, DEPTH.
const QUADS: u32 = DEPTH / 4u;
const PIECES: u32 = DEPTH / 16u;            // in sixteens, as weights are decoded
const STRIDE: u32 = QUADS + 1u;             // one quad of padding keeps lanes on different banks

var<workgroup> x_tile: array<vec4<f32>, TILE_ROWS * STRIDE>;
var<workgroup> w_tile: array<vec4<f32>, TILE_OUTPUTS * STRIDE>;

fn fill_inputs(tile: TileSite, k: u32, lane: u32) {
    for (var i = lane; i < TILE_ROWS * QUADS; i += WORKGROUP_SIZE) {
        let r = i / QUADS;
        let quad = k / 4u + i % QUADS;
        var x4 = vec4<f32>();
        if r < tile.count && 4u * quad < params.in_features {
            x4 = load4(input_at(tile.first + r), quad);
        }
        x_tile[r * STRIDE + i % QUADS] = x4;
    }
}

fn fill_weights(outputs: TileOutputs, k: u32, lane: u32) {
    for (var i = lane; i < TILE_OUTPUTS * PIECES; i += WORKGROUP_SIZE) {
        let n = i / PIECES;
        let piece = k / 16u + i % PIECES;
        var w16 = mat4x4<f32>();
        if outputs.n + n < params.out_features && 16u * piece < params.in_features {
            w16 = decode16(outputs.row + n, piece);
        }
        for (var q = 0u; q < 4u; q += 1u) {
            w_tile[n * STRIDE + 4u * (i % PIECES) + q] = w16[q];
        }
    }
}

// Of four rows from `row` on, a column each, with four outputs from `col` on.
fn tile_products(row: u32, col: u32) -> mat4x4<f32> {
    var sums = mat4x4<f32>();
    for (var q = 0u; q < QUADS; q += 1u) {
        let w0 = w_tile[col * STRIDE + q];
        let w1 = w_tile[(col + 1u) * STRIDE + q];
        let w2 = w_tile[(col + 2u) * STRIDE + q];
        let w3 = w_tile[(col + 3u) * STRIDE + q];
        for (var i = 0u; i < 4u; i += 1u) {
            let v = x_tile[(row + i) * STRIDE + q];
            sums[i] += vec4<f32>(dot(v, w0), dot(v, w1), dot(v, w2), dot(v, w3));
        }
    }
    return sums;
}
