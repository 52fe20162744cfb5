// Inputs of one row. Needs: load4 (linear/input*), norm4 (norm/*).
alias BlockRows = vec4<f32>;                // four neighbouring inputs
alias BlockSum = f32;                       // a sum of inputs

fn block_load(sites: Sites, quad: u32) -> BlockRows {
    return norm4(load4(sites.input, quad), quad);
}

fn block_multiply(x4: BlockRows, w4: mat4x4<f32>) -> Block {
    return x4 * w4;
}

fn block_sum(a: BlockRows, b: BlockRows, c: BlockRows, d: BlockRows) -> BlockSum {
    return dot(a + b + c + d, vec4<f32>(1.0));
}

fn block_scale(products: Block, sum: BlockSum, scale: mat4x2<f32>) -> Block {
    let by_part = transpose(scale);
    return products * by_part[0] - sum * by_part[1];
}
