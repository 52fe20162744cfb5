// Inputs of eight rows: the first four, the other four. Needs: rows4_load (share/*_floats), rows4_sum, rows4_scale
// (block/rows4_floats).
struct BlockRows { first: mat4x4<f32>, other: mat4x4<f32> }     // four neighbouring inputs: a column for each row
struct BlockSum { first: vec4<f32>, other: vec4<f32> }          // a sum of inputs for each row

fn block_load(sites: Sites, quad: u32) -> BlockRows {
    return BlockRows(rows4_load(sites.first, quad), rows4_load(sites.other, quad));
}

fn block_multiply(x4: BlockRows, w4: mat4x4<f32>) -> Block {
    return Block(transpose(x4.first) * w4, transpose(x4.other) * w4);
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
