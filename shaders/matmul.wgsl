// Matrix product: y[r, n] = epilogue(sum_k w[n, k] * x[r, k]), for many rows r.
// A workgroup computes a tile of 32 rows by 32 outputs, each lane 4 by 4 of it; inputs pass through
// workgroup memory 32 at a time. Rows and weights come by tile, so that rows of one expert may be anywhere.
// Needs: decode16 (codec/*), load4 (linear/input), tile_site, slot_at (rows/*_tile), store4 (epilogue/*).
// Constants: TILE_ROWS, TILE_OUTPUTS.
const WORKGROUP_SIZE: u32 = 64u;
const_assert TILE_ROWS == 32u && TILE_OUTPUTS == 32u;   // 8 by 8 lanes of 4 by 4; both tiles are filled in one loop
const QUADS: u32 = 8u;                      // inputs per pass, in fours
const PIECES: u32 = QUADS / 4u;             // the same in sixteens, as weights are decoded
const STRIDE: u32 = QUADS + 1u;             // one quad of padding keeps lanes on different banks

var<workgroup> x_tile: array<vec4<f32>, TILE_ROWS * STRIDE>;
var<workgroup> w_tile: array<vec4<f32>, TILE_OUTPUTS * STRIDE>;

fn run(workgroup: u32, lane: u32) {
    let output_tiles = (params.out_features + TILE_OUTPUTS - 1u) / TILE_OUTPUTS;
    let tile = tile_site(workgroup / output_tiles);
    if tile.count == 0u {
        return;
    }
    let n_first = (workgroup % output_tiles) * TILE_OUTPUTS;
    let w_first = tile.expert * params.out_features;
    let quads = (params.in_features + 3u) / 4u;
    let row = 4u * (lane / 8u);
    let col = 4u * (lane % 8u);

    var acc = array<vec4<f32>, 4>();
    for (var pass_quad = 0u; pass_quad < quads; pass_quad += QUADS) {
        for (var i = lane; i < TILE_ROWS * QUADS; i += WORKGROUP_SIZE) {
            let r = i / QUADS;
            let quad = pass_quad + i % QUADS;
            var x4 = vec4<f32>();
            if r < tile.count && quad < quads {
                x4 = load4(slot_at(tile.first + r) / params.slots_per_input, quad);
            }
            x_tile[r * STRIDE + i % QUADS] = x4;
        }
        for (var i = lane; i < TILE_OUTPUTS * PIECES; i += WORKGROUP_SIZE) {
            let n = n_first + i / PIECES;
            let piece = pass_quad / 4u + i % PIECES;
            var w16 = mat4x4<f32>();
            if n < params.out_features && 4u * piece < quads {
                w16 = decode16(w_first + n, piece);
            }
            for (var q = 0u; q < 4u; q += 1u) {
                w_tile[(i / PIECES) * STRIDE + 4u * (i % PIECES) + q] = w16[q];
            }
        }
        workgroupBarrier();
        // Lanes below a partial tile have nothing to add up.
        for (var q = 0u; q < QUADS && row < tile.count; q += 1u) {
            let w0 = w_tile[col * STRIDE + q];
            let w1 = w_tile[(col + 1u) * STRIDE + q];
            let w2 = w_tile[(col + 2u) * STRIDE + q];
            let w3 = w_tile[(col + 3u) * STRIDE + q];
            for (var i = 0u; i < 4u; i += 1u) {
                let v = x_tile[(row + i) * STRIDE + q];
                acc[i] += vec4<f32>(dot(v, w0), dot(v, w1), dot(v, w2), dot(v, w3));
            }
        }
        workgroupBarrier();
    }
    let n = n_first + col;
    if n >= params.out_features {
        return;
    }
    for (var i = 0u; i < 4u; i += 1u) {
        if row + i < tile.count {
            store4(slot_at(tile.first + row + i), tile.expert, n, acc[i]);
        }
    }
}
