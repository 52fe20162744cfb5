// Weights that are stored as numbers: decode16(row, piece) is weights 16 piece .. 16 piece + 15 of a row, four to a
// column. Needs: load_piece, stored4 (codec/f*).
fn decode16(row: u32, piece: u32) -> mat4x4<f32> {
    let w = load_piece(row, piece);
    return mat4x4<f32>(stored4(w, 0u), stored4(w, 1u), stored4(w, 2u), stored4(w, 3u));
}

// Products of weights need no scale.
const IS_CODED: bool = false;

fn code_scale(row: u32, piece: u32) -> vec2<f32> {
    return vec2<f32>();
}
