// Rows of inputs that the kernel `quantize` wrote. Needs: InputBlock (common/input_block).
@group(0) @binding(4) var<storage, read> x: array<InputBlock>;      // [rows, ceil(in_features / 32)]

fn input_block(row: u32, block: u32) -> InputBlock {
    return x[row * ((params.in_features + 31u) / 32u) + block];
}
