// A block of one row, normed on the way in. Needs: has_row, row_site (rows/*), norm_prepare (norm/*), store4 (epilogue/*),
// workgroup_sum4 (reduce/*).
alias Block = vec4<f32>;                    // a sum for each of four outputs
alias Sites = RowSite;

fn has_block(row: u32) -> bool {
    return has_row(row);
}

fn block_sites(row: u32) -> Sites {
    return row_site(row);
}

fn block_prepare(sites: Sites, lane: u32) {
    norm_prepare(sites.input, lane);
}

fn block_add(a: Block, b: Block) -> Block {
    return a + b;
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return workgroup_sum4(value, lane);
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    store4(sites.output, sites.expert, n, sum);
}
