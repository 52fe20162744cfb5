// The products of four outputs' weights with the rows of a block over 32 inputs, all of them codes.
// Needs: block_dot (block/*_i8), codes32, signed_scale, dot32 (codec/signed), InputBlock (common/input_block).
const STEP_INPUTS: u32 = 32u;
struct Codes { a: Codes32, b: Codes32, c: Codes32, d: Codes32, scale: mat2x4<f32> }

fn step_product(sites: Sites, outputs: vec4<u32>, step: u32) -> Block {
    let scale = mat4x2<f32>(
        signed_scale(outputs.x, step),
        signed_scale(outputs.y, step),
        signed_scale(outputs.z, step),
        signed_scale(outputs.w, step),
    );
    let a = codes32(outputs.x, step);
    let b = codes32(outputs.y, step);
    let c = codes32(outputs.z, step);
    let d = codes32(outputs.w, step);
    return block_dot(sites, step, Codes(a, b, c, d, transpose(scale)));
}

// With one row: a sum for each output.
fn row_dot(x: InputBlock, w: Codes) -> vec4<f32> {
    let dots = vec4<i32>(
        dot32(w.a, x.low, x.high),
        dot32(w.b, x.low, x.high),
        dot32(w.c, x.low, x.high),
        dot32(w.d, x.low, x.high),
    );
    return x.scale * (vec4<f32>(dots) * w.scale[0] - x.sum * w.scale[1]);
}
