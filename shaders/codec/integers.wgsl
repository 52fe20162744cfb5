// Weights that are stored as codes: weight = (2^(8 - WIDTH) code - zero) * scale. decode16(row, piece) is weights
// 16 piece .. 16 piece + 15 of a row, four to a column. Needs: codes16 (codec/*), scale_zero (scales/*). Constants: WIDTH.
const STEP: f32 = f32(1u << (8u - WIDTH));

fn stored16(row: u32, piece: u32) -> mat4x4<f32> {
    let codes = codes16(row, piece);
    return mat4x4<f32>(
        vec4<f32>(unpack4xU8(codes.x)),
        vec4<f32>(unpack4xU8(codes.y)),
        vec4<f32>(unpack4xU8(codes.z)),
        vec4<f32>(unpack4xU8(codes.w)),
    );
}

fn decode16(row: u32, piece: u32) -> mat4x4<f32> {
    let codes = stored16(row, piece);
    let block = scale_zero(row, piece);
    let zero = vec4<f32>(block.y);
    return block.x * (STEP * codes - mat4x4<f32>(zero, zero, zero, zero));
}

// What products of codes with inputs, and the sum of those inputs, give as products of weights: all of one block.
fn dequantize(row: u32, piece: u32, product: f32, input_sum: f32) -> f32 {
    let block = scale_zero(row, piece);
    return block.x * (STEP * product - block.y * input_sum);
}
