// Weights as 16-bit floats, two to a word; baseline WGSL unpacks them without the f16 feature.
@group(0) @binding(2) var<storage, read> words: array<vec2<u32>>;   // [rows, row_words / 2]

fn decode4(row: u32, quad: u32) -> vec4<f32> {
    let pair = words[row * (params.row_words / 2u) + quad];
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
