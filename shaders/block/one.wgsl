// A block of one row. Needs: row_site (rows/*), load4 (linear/input*), norm4 (norm/*), store4 (epilogue/*),
// workgroup_sum4 (reduce/*).
alias Block = vec4<f32>;                    // a sum for each of four outputs
alias BlockColumn = f32;                    // one output's

struct Sites { input: vec4<u32>, output: vec4<u32>, expert: u32 }

fn block_sites(row: u32) -> Sites {
    let site = row_site(row);
    return Sites(vec4<u32>(site.input), vec4<u32>(site.output), site.expert);
}

fn block_load(sites: Sites, quad: u32) -> vec4<f32> {
    return norm4(load4(sites.input.x, quad), quad);
}

fn block_multiply(x4: vec4<f32>, w4: mat4x4<f32>) -> Block {
    return x4 * w4;
}

fn block_sum(x4: vec4<f32>) -> BlockColumn {
    return dot(x4, vec4<f32>(1.0));
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return workgroup_sum4(value, lane);
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    store4(sites.output.x, sites.expert, n, sum);
}
