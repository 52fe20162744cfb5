// A block of inputs of each of four rows; every lane reads all of them.
// Needs: rows4 (block/rows4), InputBlock, input_block (linear/input_blocks).
struct Blocks4 { a: InputBlock, b: InputBlock, c: InputBlock, d: InputBlock }

fn rows4_blocks(row: u32, step: u32) -> Blocks4 {
    let rows = rows4(row);
    return Blocks4(
        input_block(rows.x, step),
        input_block(rows.y, step),
        input_block(rows.z, step),
        input_block(rows.w, step),
    );
}
