// Weights as 16-bit floats, two to a word; baseline WGSL unpacks them without the f16 feature. A piece is where its 16
// weights begin.
@group(0) @binding(2) var<storage, read> words: array<vec2<u32>>;   // [rows, row_words / 2]
alias Piece = u32;

fn load_piece(row: u32, piece: u32) -> Piece {
    return row * (params.row_words / 2u) + 4u * piece;
}

fn stored4(piece: Piece, q: u32) -> vec4<f32> {
    let pair = words[piece + q];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
