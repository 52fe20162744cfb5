// Weights as 32-bit floats.
@group(0) @binding(2) var<storage, read> words: array<vec4<f32>>;   // [rows, row_words / 4]

fn stored16(row: u32, piece: u32) -> mat4x4<f32> {
    let at = row * (params.row_words / 4u) + 4u * piece;
    return mat4x4<f32>(words[at], words[at + 1u], words[at + 2u], words[at + 3u]);
}
