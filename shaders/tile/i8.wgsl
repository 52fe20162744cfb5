// Inputs and weights of a tile as signed 8-bit codes, DEPTH inputs at a time, in blocks of 32.
// Needs: codes32, signed_scale, dot32 (codec/signed), input_block (linear/input_blocks), input_at (tile_rows/*).
// Constants: TILE_ROWS, TILE_OUTPUTS, DEPTH.
const BLOCKS: u32 = DEPTH / 32u;
const STRIDE: u32 = 2u * BLOCKS + 1u;       // in sixteens of codes; one of padding keeps lanes on different banks

var<workgroup> x_tile: array<vec4<u32>, TILE_ROWS * STRIDE>;
var<workgroup> x_scale: array<vec2<f32>, TILE_ROWS * BLOCKS>;       // scale, and that times the sum of the codes
var<workgroup> w_tile: array<vec4<u32>, TILE_OUTPUTS * STRIDE>;
var<workgroup> w_scale: array<vec2<f32>, TILE_OUTPUTS * BLOCKS>;    // of dots, and of sums of inputs

fn fill_inputs(tile: TileSite, k: u32, lane: u32) {
    for (var i = lane; i < TILE_ROWS * BLOCKS; i += WORKGROUP_SIZE) {
        let r = i / BLOCKS;
        let block = k / 32u + i % BLOCKS;
        var x = InputBlock();
        if r < tile.count && 32u * block < params.in_features {
            x = input_block(input_at(tile.first + r), block);
        }
        x_tile[r * STRIDE + 2u * (i % BLOCKS)] = x.low;
        x_tile[r * STRIDE + 2u * (i % BLOCKS) + 1u] = x.high;
        x_scale[i] = x.scale * vec2<f32>(1.0, x.sum);
    }
}

fn fill_weights(outputs: TileOutputs, k: u32, lane: u32) {
    for (var i = lane; i < TILE_OUTPUTS * BLOCKS; i += WORKGROUP_SIZE) {
        let n = i / BLOCKS;
        let block = k / 32u + i % BLOCKS;
        var w = Codes32();
        var scale = vec2<f32>();
        if outputs.n + n < params.out_features && 32u * block < params.in_features {
            w = codes32(outputs.row + n, block);
            scale = signed_scale(outputs.row + n, block);
        }
        w_tile[n * STRIDE + 2u * (i % BLOCKS)] = w.low;
        w_tile[n * STRIDE + 2u * (i % BLOCKS) + 1u] = w.high;
        w_scale[i] = scale;
    }
}

// Of four rows from `row` on, a column each, with four outputs from `col` on.
fn tile_products(row: u32, col: u32) -> mat4x4<f32> {
    var sums = mat4x4<f32>();
    for (var block = 0u; block < BLOCKS; block += 1u) {
        let w0 = tile_codes(col, block);
        let w1 = tile_codes(col + 1u, block);
        let w2 = tile_codes(col + 2u, block);
        let w3 = tile_codes(col + 3u, block);
        let scale = transpose(mat4x2<f32>(
            w_scale[col * BLOCKS + block],
            w_scale[(col + 1u) * BLOCKS + block],
            w_scale[(col + 2u) * BLOCKS + block],
            w_scale[(col + 3u) * BLOCKS + block],
        ));
        for (var i = 0u; i < 4u; i += 1u) {
            let at = (row + i) * STRIDE + 2u * block;
            let low = x_tile[at];
            let high = x_tile[at + 1u];
            let dots = vec4<i32>(dot32(w0, low, high), dot32(w1, low, high), dot32(w2, low, high), dot32(w3, low, high));
            let x = x_scale[(row + i) * BLOCKS + block];
            sums[i] += x.x * (vec4<f32>(dots) * scale[0]) - x.y * scale[1];
        }
    }
    return sums;
}

fn tile_codes(n: u32, block: u32) -> Codes32 {
    let at = n * STRIDE + 2u * block;
    return Codes32(w_tile[at], w_tile[at + 1u]);
}
