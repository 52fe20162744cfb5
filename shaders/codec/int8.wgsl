// 8-bit codes, four to a word; weight = (code - zero) * scale, one (scale, zero) per block of a row.
@group(0) @binding(2) var<storage, read> words: array<u32>;         // [rows, row_words]
@group(0) @binding(3) var<storage, read> scales: array<vec2<f32>>;  // [rows, blocks]

fn decode4(row: u32, quad: u32) -> vec4<f32> {
    let word = words[row * params.row_words + quad];
    let scale = scales[row * params.blocks + ((4u * quad) >> params.block_shift)];
    let codes = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
    return (vec4<f32>(codes) - scale.y) * scale.x;
}
