// Inputs of four rows. Needs: rows4_load (share/*_floats), rows4_sum, rows4_scale (block/rows4_floats).
alias BlockRows = mat4x4<f32>;              // four neighbouring inputs: a column for each row
alias BlockSum = vec4<f32>;                 // a sum of inputs for each row

fn block_load(sites: Sites, quad: u32) -> BlockRows {
    return rows4_load(sites.first, quad);
}

fn block_multiply(x4: BlockRows, w4: mat4x4<f32>) -> Block {
    return transpose(x4) * w4;
}

fn block_sum(a: BlockRows, b: BlockRows, c: BlockRows, d: BlockRows) -> BlockSum {
    return rows4_sum(a, b, c, d);
}

fn block_scale(products: Block, sum: BlockSum, scale: mat4x2<f32>) -> Block {
    return rows4_scale(products, sum, scale);
}
