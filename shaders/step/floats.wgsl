// The products of four outputs' weights with the rows of a block over a piece of 16 inputs.
// Needs: load_piece, stored4, code_scale, IS_CODED (codec/*), block_add (block/*), block_load, block_multiply,
// block_sum, block_scale (block/*_floats).
const STEP_INPUTS: u32 = 16u;

fn step_product(sites: Sites, outputs: vec4<u32>, piece: u32) -> Block {
    let a = load_piece(outputs.x, piece);
    let b = load_piece(outputs.y, piece);
    let c = load_piece(outputs.z, piece);
    let d = load_piece(outputs.w, piece);
    // Written out, because drivers that do not unroll would index pieces in memory, and in the order of use, because
    // some keep to it and would run out of registers.
    let x0 = block_load(sites, 4u * piece);
    let p0 = block_multiply(x0, mat4x4<f32>(stored4(a, 0u), stored4(b, 0u), stored4(c, 0u), stored4(d, 0u)));
    let x1 = block_load(sites, 4u * piece + 1u);
    let p1 = block_multiply(x1, mat4x4<f32>(stored4(a, 1u), stored4(b, 1u), stored4(c, 1u), stored4(d, 1u)));
    let s1 = block_add(p0, p1);
    let x2 = block_load(sites, 4u * piece + 2u);
    let p2 = block_multiply(x2, mat4x4<f32>(stored4(a, 2u), stored4(b, 2u), stored4(c, 2u), stored4(d, 2u)));
    let s2 = block_add(s1, p2);
    let x3 = block_load(sites, 4u * piece + 3u);
    let p3 = block_multiply(x3, mat4x4<f32>(stored4(a, 3u), stored4(b, 3u), stored4(c, 3u), stored4(d, 3u)));
    let products = block_add(s2, p3);
    if !IS_CODED {
        return products;
    }
    let scale = mat4x2<f32>(
        code_scale(outputs.x, piece),
        code_scale(outputs.y, piece),
        code_scale(outputs.z, piece),
        code_scale(outputs.w, piece),
    );
    return block_scale(products, block_sum(x0, x1, x2, x3), scale);
}
