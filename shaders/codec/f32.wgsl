// Weights as 32-bit floats. decode4(row, quad): weights 4 quad .. 4 quad + 3 of that row.
@group(0) @binding(2) var<storage, read> words: array<vec4<f32>>;   // [rows, row_words / 4]

fn decode4(row: u32, quad: u32) -> vec4<f32> {
    return words[row * (params.row_words / 4u) + quad];
}
