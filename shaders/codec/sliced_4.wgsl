// Slices of 4 bits: one plane, two words for 16 codes.
@group(0) @binding(2) var<storage, read> words: array<vec2<u32>>;   // [rows, row_words / 2]

fn codes16(row: u32, piece: u32) -> vec4<u32> {
    let pair = words[row * (params.row_words / 2u) + piece];
    return (pair.xxyy >> vec4<u32>(0u, 4u, 0u, 4u)) & vec4<u32>(0x0f0f0f0fu);
}
