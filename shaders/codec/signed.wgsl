// Codes as signed bytes, as packed dot products take them: code - CENTRE. Codes of 7 bits are signed as they are.
// Needs: load_piece, code_scale (codec/integers), InputBlock (common/input_block). Constants: CENTRE, 0 or 128.
struct Codes32 { low: vec4<u32>, high: vec4<u32> }

// The codes of 32 inputs. A row may end after 16 of them; inputs beyond are zero, whatever is read.
fn codes32(row: u32, block: u32) -> Codes32 {
    let last = (params.in_features - 1u) / 16u;
    let centre = vec4<u32>(CENTRE * 0x01010101u);
    let high = load_piece(row, min(2u * block + 1u, last));
    return Codes32(load_piece(row, 2u * block) ^ centre, high ^ centre);
}

// Dots of codes d and the sum s of the inputs' codes give products of weights as (d * x - s * y) * the inputs' scale.
fn signed_scale(row: u32, block: u32) -> vec2<f32> {
    let scale = code_scale(row, 2u * block);
    return vec2<f32>(scale.x, scale.y - f32(CENTRE) * scale.x);
}

// Below 2^20, so that it is exact as f32 too.
fn dot32(w: Codes32, low: vec4<u32>, high: vec4<u32>) -> i32 {
    return dot4I8Packed(w.low.x, low.x) + dot4I8Packed(w.low.y, low.y)
        + dot4I8Packed(w.low.z, low.z) + dot4I8Packed(w.low.w, low.w)
        + dot4I8Packed(w.high.x, high.x) + dot4I8Packed(w.high.y, high.y)
        + dot4I8Packed(w.high.z, high.z) + dot4I8Packed(w.high.w, high.w);
}
