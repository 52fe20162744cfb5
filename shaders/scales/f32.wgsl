// Scale and zero point of the block that a piece of 16 inputs is in.
@group(0) @binding(3) var<storage, read> scales: array<vec2<f32>>;  // [rows, blocks]

fn scale_zero(row: u32, piece: u32) -> vec2<f32> {
    return scales[row * params.blocks + ((16u * piece) >> params.block_shift)];
}
