// A block of inputs of each of four rows; every lane reads all of them.
// Needs: InputBlock, input_block (linear/input_blocks).
struct Blocks4 { a: InputBlock, b: InputBlock, c: InputBlock, d: InputBlock }

fn rows4_blocks(rows: vec4<u32>, step: u32) -> Blocks4 {
    return Blocks4(
        input_block(rows.x, step),
        input_block(rows.y, step),
        input_block(rows.z, step),
        input_block(rows.w, step),
    );
}
