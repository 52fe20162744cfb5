// All 8 bits of the codes.
@group(0) @binding(2) var<storage, read> words: array<vec4<u32>>;   // [rows, row_words / 4]

fn codes16(row: u32, piece: u32) -> vec4<u32> {
    return words[row * (params.row_words / 4u) + piece];
}
