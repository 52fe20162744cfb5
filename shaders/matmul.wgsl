// Matrix product: y[r, n] = epilogue(sum_k w[n, k] * x[r, k]), for many rows r.
// A workgroup computes a tile of 32 rows by 32 outputs, each lane 4 by 4 of it; inputs and weights pass through workgroup
// memory, DEPTH inputs at a time. Rows and weights come by tile, so that rows of one expert may be anywhere.
// Needs: fill_inputs, fill_weights, tile_products (tile/*), tile_site (rows/*_tile), slot_at (tile_rows/*), store4 (epilogue/*).
// Constants: TILE_ROWS, TILE_OUTPUTS, DEPTH.
const WORKGROUP_SIZE: u32 = 64u;
const_assert TILE_ROWS == 32u && TILE_OUTPUTS == 32u;   // 8 by 8 lanes of 4 by 4

// Where a tile of weights begins: its first output, and the row of the weights that it belongs to.
struct TileOutputs { n: u32, row: u32 }

fn run(workgroup: u32, lane: u32) {
    let output_tiles = (params.out_features + TILE_OUTPUTS - 1u) / TILE_OUTPUTS;
    let tile = tile_site(workgroup / output_tiles);
    if tile.count == 0u {
        return;
    }
    let n_first = (workgroup % output_tiles) * TILE_OUTPUTS;
    let outputs = TileOutputs(n_first, tile.expert * params.out_features + n_first);
    let row = 4u * (lane / 8u);
    let col = 4u * (lane % 8u);

    var acc = mat4x4<f32>();
    for (var k = 0u; k < params.in_features; k += DEPTH) {
        fill_inputs(tile, k, lane);
        fill_weights(outputs, k, lane);
        workgroupBarrier();
        // Lanes below a partial tile have nothing to add up.
        if row < tile.count {
            acc += tile_products(row, col);
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
