// Weights as 16-bit floats, read as such where the device has them.
@group(0) @binding(2) var<storage, read> words: array<vec4<f16>>;   // [rows, row_words / 2]

fn decode4(row: u32, quad: u32) -> vec4<f32> {
    return vec4<f32>(words[row * (params.row_words / 2u) + quad]);
}
