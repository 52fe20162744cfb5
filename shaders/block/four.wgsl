// A block of four neighbouring rows. Needs: rows4_reduce, rows4_store (block/rows4).
alias Block = mat4x4<f32>;                  // sums: a column for each of four outputs

struct Sites { row: u32, expert: u32 }

fn block_sites(row: u32) -> Sites {
    return Sites(row, 0u);
}

// Blocks of several rows are not normed on the way in.
fn block_prepare(sites: Sites, lane: u32) {}

fn block_add(a: Block, b: Block) -> Block {
    return a + b;
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return rows4_reduce(value, lane);
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    rows4_store(sites.row, n, sum);
}
