// A block of eight neighbouring rows: the first four, the other four.
// Needs: rows4_reduce, rows4_store (block/rows4).
struct Block { first: mat4x4<f32>, other: mat4x4<f32> }     // sums: a column for each of four outputs

struct Sites { row: u32, expert: u32 }

fn block_sites(row: u32) -> Sites {
    return Sites(row, 0u);
}

// Blocks of several rows are not normed on the way in.
fn block_prepare(sites: Sites, lane: u32) {}

fn block_add(a: Block, b: Block) -> Block {
    return Block(a.first + b.first, a.other + b.other);
}

fn block_reduce(value: Block, lane: u32) -> Block {
    return Block(rows4_reduce(value.first, lane), rows4_reduce(value.other, lane));
}

fn block_store(sites: Sites, n: u32, sum: Block) {
    rows4_store(sites.row, n, sum.first);
    rows4_store(sites.row + 4u, n, sum.other);
}
