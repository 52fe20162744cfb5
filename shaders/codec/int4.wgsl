// 4-bit slices of the 8-bit parent, eight to a word; weight = (16 code - zero) * scale.
@group(0) @binding(2) var<storage, read> words: array<u32>;         // [rows, row_words]
@group(0) @binding(3) var<storage, read> scales: array<vec2<f32>>;  // [rows, blocks]

fn decode4(row: u32, quad: u32) -> vec4<f32> {
    let word = words[row * params.row_words + quad / 2u] >> (16u * (quad % 2u));
    let scale = scales[row * params.blocks + ((4u * quad) >> params.block_shift)];
    let codes = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(0xfu);
    return (16.0 * vec4<f32>(codes) - scale.y) * scale.x;
}
