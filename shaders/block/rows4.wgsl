// Blocks of ROWS rows of a tile, in fours: a column of sums for each output. Rows past the last one of the tile are that
// one again, and are not stored. Needs: tile_site (rows/*_tile), input_at, slot_at (tile_rows/*), store4 (epilogue/*),
// workgroup_sum4 (reduce/*). Constants: TILE_ROWS, ROWS.
const TILE_BLOCKS: u32 = TILE_ROWS / ROWS;
const_assert TILE_ROWS % ROWS == 0u;
struct BlockSite { expert: u32, first: u32, end: u32 }

fn has_block(block: u32) -> bool {
    return ROWS * (block % TILE_BLOCKS) < tile_site(block / TILE_BLOCKS).count;
}

fn block_site(block: u32) -> BlockSite {
    let tile = tile_site(block / TILE_BLOCKS);
    return BlockSite(tile.expert, tile.first + ROWS * (block % TILE_BLOCKS), tile.first + tile.count);
}

// Where the inputs of four rows are.
fn rows4_inputs(first: u32, end: u32) -> vec4<u32> {
    let last = end - 1u;
    return vec4<u32>(
        input_at(min(first, last)),
        input_at(min(first + 1u, last)),
        input_at(min(first + 2u, last)),
        input_at(min(first + 3u, last)),
    );
}

fn rows4_reduce(value: mat4x4<f32>, lane: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        workgroup_sum4(value[0], lane),
        workgroup_sum4(value[1], lane),
        workgroup_sum4(value[2], lane),
        workgroup_sum4(value[3], lane),
    );
}

fn rows4_store(site: BlockSite, skip: u32, n: u32, sum: mat4x4<f32>) {
    let by_row = transpose(sum);
    let first = site.first + skip;
    for (var r = 0u; r < 4u && first + r < site.end; r += 1u) {
        store4(slot_at(first + r), site.expert, n, by_row[r]);
    }
}
