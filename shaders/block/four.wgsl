// A block of four neighbouring rows. Needs: rows4_load, rows4_sum, rows4_scale, rows4_reduce, rows4_store (block/rows4).
alias Block = mat4x4<f32>;                  // sums: a column for each of four outputs
alias BlockRows = mat4x4<f32>;              // four neighbouring inputs: a column for each row
alias BlockSum = vec4<f32>;                 // a sum of inputs for each row

struct Sites { row: u32, expert: u32 }

fn block_sites(row: u32) -> Sites {
    return Sites(row, 0u);
}

// Blocks of several rows are not normed on the way in.
fn block_prepare(sites: Sites, lane: u32) {}

fn block_load(sites: Sites, quad: u32) -> BlockRows {
    return rows4_load(sites.row, quad);
}

fn block_multiply(x4: BlockRows, w4: mat4x4<f32>) -> Block {
    return transpose(x4) * w4;
}

fn block_add(a: Block, b: Block) -> Block {
    return a + b;
}

fn block_sum(a: BlockRows, b: BlockRows, c: BlockRows, d: BlockRows) -> BlockSum {
    return rows4_sum(a, b, c, d);
}

fn block_scale(products: Block, sum: BlockSum, scale: mat4x2<f32>) -> Block {
    return rows4_scale(products, sum, scale);
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return rows4_reduce(value, lane);
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    rows4_store(sites.row, n, sum);
}
