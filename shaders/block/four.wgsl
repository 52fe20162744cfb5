// A block of four rows. Needs: BlockSite, block_site, rows4_inputs, rows4_reduce, rows4_store (block/rows4).
alias Block = mat4x4<f32>;                  // sums: a column for each of four outputs

struct Sites { expert: u32, site: BlockSite, first: vec4<u32> }        // the last: rows of inputs

fn block_sites(block: u32) -> Sites {
    let site = block_site(block);
    return Sites(site.expert, site, rows4_inputs(site.first, site.end));
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
    rows4_store(sites.site, 0u, n, sum);
}
