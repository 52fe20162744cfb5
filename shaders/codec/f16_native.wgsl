// Weights as 16-bit floats, read as such where the device has them.
@group(0) @binding(2) var<storage, read> words: array<vec4<f16>>;   // [rows, row_words / 2]

fn stored16(row: u32, piece: u32) -> mat4x4<f32> {
    let at = row * (params.row_words / 2u) + 4u * piece;
    return mat4x4<f32>(
        vec4<f32>(words[at]), vec4<f32>(words[at + 1u]), vec4<f32>(words[at + 2u]), vec4<f32>(words[at + 3u]),
    );
}
