// Matrix-vector product: y[r, n] = epilogue(sum_k w[n, k] * norm(x[r, k])), for few rows r.
// A team of lanes, one lane or the workgroup, computes OUTPUTS neighbouring outputs of a block of rows. Its lanes stride
// over the inputs, a piece of 16 at a time, so that a weight is decoded once for all rows of the block.
// Needs: Block, Sites, block_sites, block_prepare, block_load, block_multiply, block_add, block_sum, block_scale,
// block_store (block/*), load_piece, stored4, code_scale, IS_CODED (codec/*), has_row (rows/*), team_sum (team/*).
// Constants: WORKGROUP_SIZE, TEAM, OUTPUTS, ROWS.
const TEAMS: u32 = WORKGROUP_SIZE / TEAM;
const FOURS: u32 = OUTPUTS / 4u;
const_assert OUTPUTS % 4u == 0u && (TEAM == 1u || TEAM == WORKGROUP_SIZE);

fn run(workgroup: u32, lane: u32) {
    let tiles = (params.out_features + TEAMS * OUTPUTS - 1u) / (TEAMS * OUTPUTS);
    let row = (workgroup / tiles) * ROWS;
    if !has_row(row) {
        return;
    }
    let sites = block_sites(row);
    let n = ((workgroup % tiles) * TEAMS + lane / TEAM) * OUTPUTS;
    let w = sites.expert * params.out_features;
    // The last tile may be short: it reads the last output's weights again, and drops the surplus.
    let last = params.out_features - 1u;

    block_prepare(sites, lane);
    var acc: array<Block, FOURS>;
    for (var piece = lane % TEAM; 16u * piece < params.in_features; piece += TEAM) {
        for (var four = 0u; four < FOURS; four += 1u) {
            let first = n + 4u * four;
            let outputs = w + min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(last));
            acc[four] = block_add(acc[four], piece_product(sites, outputs, piece));
        }
    }
    for (var four = 0u; four < FOURS; four += 1u) {
        let sum = team_sum(acc[four], lane);
        if lane % TEAM == 0u && n + 4u * four <= last {
            block_store(sites, n + 4u * four, sum);
        }
    }
}

// The products of four outputs' weights with the rows of a block over one piece of the inputs.
fn piece_product(sites: Sites, outputs: vec4<u32>, piece: u32) -> Block {
    let a = load_piece(outputs.x, piece);
    let b = load_piece(outputs.y, piece);
    let c = load_piece(outputs.z, piece);
    let d = load_piece(outputs.w, piece);
    // Written out, because drivers that do not unroll would index pieces in memory, and in the order of use, because
    // some keep to it and would run out of registers.
    let x0 = block_load(sites, 4u * piece);
    let p0 = block_multiply(x0, mat4x4<f32>(stored4(a, 0u), stored4(b, 0u), stored4(c, 0u), stored4(d, 0u)));
    let x1 = block_load(sites, 4u * piece + 1u);
    let p1 = block_multiply(x1, mat4x4<f32>(stored4(a, 1u), stored4(b, 1u), stored4(c, 1u), stored4(d, 1u)));
    let s1 = block_add(p0, p1);
    let x2 = block_load(sites, 4u * piece + 2u);
    let p2 = block_multiply(x2, mat4x4<f32>(stored4(a, 2u), stored4(b, 2u), stored4(c, 2u), stored4(d, 2u)));
    let s2 = block_add(s1, p2);
    let x3 = block_load(sites, 4u * piece + 3u);
    let p3 = block_multiply(x3, mat4x4<f32>(stored4(a, 3u), stored4(b, 3u), stored4(c, 3u), stored4(d, 3u)));
    let products = block_add(s2, p3);
    if !IS_CODED {
        return products;
    }
    let scale = mat4x2<f32>(
        code_scale(outputs.x, piece),
        code_scale(outputs.y, piece),
        code_scale(outputs.z, piece),
        code_scale(outputs.w, piece),
    );
    return block_scale(products, block_sum(x0, x1, x2, x3), scale);
}
