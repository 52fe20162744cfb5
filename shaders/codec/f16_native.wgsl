// Weights as 16-bit floats, read as such where the device has them. A piece is where its 16 weights begin.
@group(0) @binding(2) var<storage, read> words: array<vec4<f16>>;   // [rows, row_words / 2]
alias Piece = u32;

fn load_piece(row: u32, piece: u32) -> Piece {
    return row * (params.row_words / 2u) + 4u * piece;
}

fn stored4(piece: Piece, q: u32) -> vec4<f32> {
    return vec4<f32>(words[piece + q]);
}
