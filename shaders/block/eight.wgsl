// A block of eight neighbouring rows: the first four, the other four.
// Needs: rows4_load, rows4_sum, rows4_scale, rows4_reduce, rows4_store (block/rows4).
struct Block { first: mat4x4<f32>, other: mat4x4<f32> }         // sums: a column for each of four outputs
struct BlockRows { first: mat4x4<f32>, other: mat4x4<f32> }     // four neighbouring inputs: a column for each row
struct BlockSum { first: vec4<f32>, other: vec4<f32> }          // a sum of inputs for each row

struct Sites { row: u32, expert: u32 }

fn block_sites(row: u32) -> Sites {
    return Sites(row, 0u);
}

// Blocks of several rows are not normed on the way in.
fn block_prepare(sites: Sites, lane: u32) {}

fn block_load(sites: Sites, quad: u32) -> BlockRows {
    return BlockRows(rows4_load(sites.row, quad), rows4_load(sites.row + 4u, quad));
}

fn block_multiply(x4: BlockRows, w4: mat4x4<f32>) -> Block {
    return Block(transpose(x4.first) * w4, transpose(x4.other) * w4);
}

fn block_add(a: Block, b: Block) -> Block {
    return Block(a.first + b.first, a.other + b.other);
}

fn block_sum(a: BlockRows, b: BlockRows, c: BlockRows, d: BlockRows) -> BlockSum {
    return BlockSum(
        rows4_sum(a.first, b.first, c.first, d.first),
        rows4_sum(a.other, b.other, c.other, d.other),
    );
}

fn block_scale(products: Block, sum: BlockSum, scale: mat4x2<f32>) -> Block {
    return Block(rows4_scale(products.first, sum.first, scale), rows4_scale(products.other, sum.other, scale));
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return Block(rows4_reduce(value.first, lane), rows4_reduce(value.other, lane));
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    rows4_store(sites.row, n, sum.first);
    rows4_store(sites.row + 4u, n, sum.other);
}
