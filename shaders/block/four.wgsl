// A block of four rows; those past the last row of the call are the last one again, and are not stored.
// Needs: row_count, row_site (rows/*), load4 (linear/input*), norm4 (norm/*), store4 (epilogue/*), workgroup_sum4 (reduce/*).
alias Block = mat4x4<f32>;                  // a column for each of four outputs
alias BlockColumn = vec4<f32>;            // one output's

struct Sites { input: vec4<u32>, output: vec4<u32>, expert: u32, count: u32 }

fn block_sites(row: u32) -> Sites {
    let last = row_count() - 1u;
    let a = row_site(row);
    let b = row_site(min(row + 1u, last));
    let c = row_site(min(row + 2u, last));
    let d = row_site(min(row + 3u, last));
    let input = vec4<u32>(a.input, b.input, c.input, d.input);
    let output = vec4<u32>(a.output, b.output, c.output, d.output);
    return Sites(input, output, a.expert, last + 1u - row);
}

fn block_load(sites: Sites, quad: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        norm4(load4(sites.input.x, quad), quad),
        norm4(load4(sites.input.y, quad), quad),
        norm4(load4(sites.input.z, quad), quad),
        norm4(load4(sites.input.w, quad), quad),
    );
}

fn block_multiply(x4: mat4x4<f32>, w4: mat4x4<f32>) -> Block {
    return transpose(x4) * w4;
}

fn block_sum(x4: mat4x4<f32>) -> BlockColumn {
    return vec4<f32>(1.0) * x4;
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return Block(
        workgroup_sum4(value[0], lane),
        workgroup_sum4(value[1], lane),
        workgroup_sum4(value[2], lane),
        workgroup_sum4(value[3], lane),
    );
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    let by_row = transpose(sum);
    store4(sites.output.x, sites.expert, n, by_row[0]);
    if sites.count > 1u { store4(sites.output.y, sites.expert, n, by_row[1]); }
    if sites.count > 2u { store4(sites.output.z, sites.expert, n, by_row[2]); }
    if sites.count > 3u { store4(sites.output.w, sites.expert, n, by_row[3]); }
}
