// 8-bit codes, one plane; every width slices them as it reads. Needs: slice16 (codec/slice).
@group(0) @binding(2) var<storage, read> words: array<vec4<u32>>;   // [rows, row_words / 4]

fn codes16(row: u32, piece: u32) -> vec4<u32> {
    return slice16(words[row * (params.row_words / 4u) + piece], 8u);
}
