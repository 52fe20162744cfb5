// Weights as 32-bit floats. A piece is where its 16 weights begin.
@group(0) @binding(2) var<storage, read> words: array<vec4<f32>>;   // [rows, row_words / 4]
alias Piece = u32;

fn load_piece(row: u32, piece: u32) -> Piece {
    return row * (params.row_words / 4u) + 4u * piece;
}

fn stored4(piece: Piece, q: u32) -> vec4<f32> {
    return words[piece + q];
}
