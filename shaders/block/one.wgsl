// A block of one row, normed on the way in. Needs: row_site (rows/*), load4 (linear/input*), norm_prepare, norm4 (norm/*),
// store4 (epilogue/*), workgroup_sum4 (reduce/*).
alias Block = vec4<f32>;                    // a sum for each of four outputs
alias BlockRows = vec4<f32>;                // four neighbouring inputs
alias BlockSum = f32;                       // a sum of inputs
alias Sites = RowSite;

fn block_sites(row: u32) -> Sites {
    return row_site(row);
}

fn block_prepare(sites: Sites, lane: u32) {
    norm_prepare(sites.input, lane);
}

fn block_load(sites: Sites, quad: u32) -> BlockRows {
    return norm4(load4(sites.input, quad), quad);
}

fn block_multiply(x4: BlockRows, w4: mat4x4<f32>) -> Block {
    return x4 * w4;
}

fn block_add(a: Block, b: Block) -> Block {
    return a + b;
}

fn block_sum(a: BlockRows, b: BlockRows, c: BlockRows, d: BlockRows) -> BlockSum {
    return dot(a + b + c + d, vec4<f32>(1.0));
}

fn block_scale(products: Block, sum: BlockSum, scale: mat4x2<f32>) -> Block {
    let by_part = transpose(scale);
    return products * by_part[0] - sum * by_part[1];
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return workgroup_sum4(value, lane);
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    store4(sites.output, sites.expert, n, sum);
}
