// Weights as 16-bit floats, two to a word; baseline WGSL unpacks them without the f16 feature.
@group(0) @binding(2) var<storage, read> words: array<vec4<u32>>;   // [rows, row_words / 4]

fn stored16(row: u32, piece: u32) -> mat4x4<f32> {
    let at = row * (params.row_words / 4u) + 2u * piece;
    let a = words[at];
    let b = words[at + 1u];
    return mat4x4<f32>(halves(a.xy), halves(a.zw), halves(b.xy), halves(b.zw));
}

fn halves(pair: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
