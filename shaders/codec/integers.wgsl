// Weights that are stored as codes: weight = (2^(8 - WIDTH) code - zero) * scale. A piece is 16 codes, one in each byte;
// decode16(row, piece) is weights 16 piece .. 16 piece + 15 of a row, four to a column.
// Needs: codes16 (codec/*), scale_zero (scales/*). Constants: WIDTH.
const STEP: f32 = f32(1u << (8u - WIDTH));
alias Piece = vec4<u32>;

fn load_piece(row: u32, piece: u32) -> Piece {
    return codes16(row, piece);
}

fn stored4(piece: Piece, q: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(piece[q]));
}

fn decode16(row: u32, piece: u32) -> mat4x4<f32> {
    let codes = codes16(row, piece);
    let block = scale_zero(row, piece);
    let zero = vec4<f32>(block.y);
    let decoded = STEP * mat4x4<f32>(stored4(codes, 0u), stored4(codes, 1u), stored4(codes, 2u), stored4(codes, 3u));
    return block.x * (decoded - mat4x4<f32>(zero, zero, zero, zero));
}

// Products of codes p and the sum s of the inputs give products of weights as p * x - s * y: all of one block.
const IS_CODED: bool = true;

fn code_scale(row: u32, piece: u32) -> vec2<f32> {
    let block = scale_zero(row, piece);
    return block.x * vec2<f32>(STEP, block.y);
}
