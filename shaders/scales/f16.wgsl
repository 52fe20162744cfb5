// Scale and zero point of the block that a piece of 16 inputs is in, as the halves of a word.
@group(0) @binding(3) var<storage, read> scales: array<u32>;        // [rows, blocks]

fn scale_zero(row: u32, piece: u32) -> vec2<f32> {
    return unpack2x16float(scales[row * params.blocks + ((16u * piece) >> params.block_shift)]);
}
