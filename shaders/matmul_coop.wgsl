// Matrix product on cooperative matrices: y[r, n] = epilogue(sum_k w[n, k] * x[r, k]), for many rows r.
// A workgroup computes a tile of 32 rows by 64 outputs, each subgroup a block of two by two matrices of it. Inputs and
// weights become f16 on their way into workgroup memory, 32 at a time; sums are f32.
// A row of x is multiplied by a power of two (matrix/row_scale), and its sums are divided by it; a weight beyond the range of f16
// is cut off at its end.
// Needs: decode16 (codec/*), load4 (linear/input), tile_site (rows/*_tile), slot_at, input_at (tile_rows/*), store4 (epilogue/*),
// Rows, Columns, Sums, SIDE (matrix/*), subgroup_index (entry/subgroup), exponent_for, power_of, inverse_power_of, cut_off
// (matrix/row_scale).
// Constants: WORKGROUP_SIZE, TILE_ROWS, TILE_OUTPUTS.
const DEPTH: u32 = 32u;                     // inputs per pass
const QUADS: u32 = DEPTH / 4u;              // the same in fours
const PIECES: u32 = DEPTH / 16u;            // the same in sixteens, as weights are decoded
const STRIDE: u32 = DEPTH + 8u;             // matrices are read from multiples of 16 bytes; 8 more spread the banks
const BLOCK: u32 = 2u * SIDE;
const BLOCKS_ACROSS: u32 = TILE_OUTPUTS / BLOCK;
const BLOCKS: u32 = (TILE_ROWS / BLOCK) * BLOCKS_ACROSS;
const AREA: u32 = SIDE * SIDE;
const_assert TILE_ROWS % BLOCK == 0u && TILE_OUTPUTS % BLOCK == 0u && DEPTH % SIDE == 0u;
const_assert TILE_ROWS <= WORKGROUP_SIZE && TILE_ROWS * QUADS <= BLOCKS * AREA;

var<workgroup> x_tile: array<f16, TILE_ROWS * STRIDE>;
var<workgroup> w_tile: array<f16, TILE_OUTPUTS * STRIDE>;
var<workgroup> sums: array<f32, BLOCKS * AREA>;             // one matrix of each block; at first, maxima of rows
var<workgroup> scale_exponent: array<u32, TILE_ROWS>;       // of the powers of two that rows are multiplied by

fn input4(tile: TileSite, r: u32, quad: u32) -> vec4<f32> {
    if r < tile.count && 4u * quad < params.in_features {
        return load4(input_at(tile.first + r), quad);
    }
    return vec4<f32>();
}

fn choose_scales(tile: TileSite, in_features: u32, lane: u32) {
    for (var r = lane / QUADS; r < TILE_ROWS; r += WORKGROUP_SIZE / QUADS) {
        var most = vec4<f32>();
        for (var quad = lane % QUADS; 4u * quad < in_features; quad += QUADS) {
            most = max(most, abs(input4(tile, r, quad)));
        }
        sums[r * QUADS + lane % QUADS] = max(max(most.x, most.y), max(most.z, most.w));
    }
    workgroupBarrier();
    if lane < TILE_ROWS {
        var most = 0.0;
        for (var q = 0u; q < QUADS; q += 1u) {
            most = max(most, sums[lane * QUADS + q]);
        }
        scale_exponent[lane] = exponent_for(most);
    }
    workgroupBarrier();
}

fn run(workgroup: u32, lane: u32) {
    let output_tiles = (params.out_features + TILE_OUTPUTS - 1u) / TILE_OUTPUTS;
    let tile = tile_site(workgroup / output_tiles);
    // A workgroup without a tile has nothing to add up; naga takes no return before matrices.
    let in_features = select(params.in_features, 0u, tile.count == 0u);
    let n_first = (workgroup % output_tiles) * TILE_OUTPUTS;
    let w_first = tile.expert * params.out_features;
    let row = BLOCK * (subgroup_index / BLOCKS_ACROSS);
    let col = BLOCK * (subgroup_index % BLOCKS_ACROSS);
    // Subgroups beyond the blocks, and those below a partial tile, only help to fill workgroup memory.
    let has_block = subgroup_index < BLOCKS && row < tile.count;

    choose_scales(tile, in_features, lane);
    var c00 = Sums();
    var c01 = Sums();
    var c10 = Sums();
    var c11 = Sums();
    for (var k_first = 0u; k_first < in_features; k_first += DEPTH) {
        for (var i = lane; i < TILE_ROWS * QUADS; i += WORKGROUP_SIZE) {
            let r = i / QUADS;
            let x4 = vec4<f16>(power_of(scale_exponent[r]) * input4(tile, r, k_first / 4u + i % QUADS));
            let at = r * STRIDE + 4u * (i % QUADS);
            for (var j = 0u; j < 4u; j += 1u) {
                x_tile[at + j] = x4[j];
            }
        }
        for (var i = lane; i < TILE_OUTPUTS * PIECES; i += WORKGROUP_SIZE) {
            let n = n_first + i / PIECES;
            let piece = k_first / 16u + i % PIECES;
            var w16 = mat4x4<f32>();
            if n < params.out_features && 16u * piece < params.in_features {
                w16 = decode16(w_first + n, piece);
            }
            let at = (i / PIECES) * STRIDE + 16u * (i % PIECES);
            for (var q = 0u; q < 4u; q += 1u) {
                for (var j = 0u; j < 4u; j += 1u) {
                    w_tile[at + 4u * q + j] = f16(cut_off(w16[q][j]));
                }
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH && has_block; k += SIDE) {
            // naga loses an index or a stride that has no name of its own.
            let stride = STRIDE;
            let a0_at = row * STRIDE + k;
            let a1_at = (row + SIDE) * STRIDE + k;
            let b0_at = col * STRIDE + k;
            let b1_at = (col + SIDE) * STRIDE + k;
            let a0 = coopLoadT<Rows>(&x_tile[a0_at], stride);
            let a1 = coopLoadT<Rows>(&x_tile[a1_at], stride);
            let b0 = coopLoad<Columns>(&w_tile[b0_at], stride);
            let b1 = coopLoad<Columns>(&w_tile[b1_at], stride);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
        }
        workgroupBarrier();
    }
    // One matrix of each block at a time, through workgroup memory to the lanes.
    for (var part = 0u; part < 4u; part += 1u) {
        if has_block {
            let at = subgroup_index * AREA;
            let stride = SIDE;
            switch part {
                case 0u: { coopStoreT(c00, &sums[at], stride); }
                case 1u: { coopStoreT(c01, &sums[at], stride); }
                case 2u: { coopStoreT(c10, &sums[at], stride); }
                default: { coopStoreT(c11, &sums[at], stride); }
            }
        }
        workgroupBarrier();
        for (var i = 4u * lane; i < BLOCKS * AREA; i += 4u * WORKGROUP_SIZE) {
            let block = i / AREA;
            let r = BLOCK * (block / BLOCKS_ACROSS) + SIDE * (part / 2u) + i % AREA / SIDE;
            let n = n_first + BLOCK * (block % BLOCKS_ACROSS) + SIDE * (part % 2u) + i % SIDE;
            if r < tile.count && n < params.out_features {
                let acc = vec4<f32>(sums[i], sums[i + 1u], sums[i + 2u], sums[i + 3u]);
                store4(slot_at(tile.first + r), tile.expert, n, inverse_power_of(scale_exponent[r]) * acc);
            }
        }
        workgroupBarrier();
    }
}
