// Rows of inputs, normed on the way in, as blocks of 32 signed 8-bit codes: scale = max |x| / 127, code = round(x / scale).
// A lane computes a block. Needs: load4 (linear/input*), norm_prepare, norm4 (norm/*), InputBlock (common/input_block),
// row_total (row_total/*), span, last_row (common/span).
// Constants: WORKGROUP_SIZE, LAST.
struct Params {
    in_features: u32,
    rows_per_token: u32,
    eps: f32,               // of the fused norm
    experts: u32,           // of row_total/chosen, with their share
    share_numerator: u32,
    share_denominator: u32,
    share_round: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(7) var<storage, read_write> y: array<InputBlock>;    // [rows, ceil(in_features / 32)]
// 1e-30, the bits of it. Below it a block is zero: its scale and the inverse of that stay far from both ends of f32.
const LEAST: u32 = 0x0da24260u;

fn run(workgroup: u32, lane: u32) {
    let blocks = (params.in_features + 31u) / 32u;
    let tiles = (blocks + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    var row = workgroup / tiles;
    if row >= select(row_total(), span.sequences, LAST) {
        return;
    }
    if LAST {
        row = last_row(row);
    }
    norm_prepare(row, lane);
    let block = (workgroup % tiles) * WORKGROUP_SIZE + lane;
    if block < blocks {
        y[row * blocks + block] = quantized(row, 8u * block);
    }
}

fn quantized(row: u32, quad: u32) -> InputBlock {
    let a = input4(row, quad);
    let b = input4(row, quad + 1u);
    let c = input4(row, quad + 2u);
    let d = input4(row, quad + 3u);
    let e = input4(row, quad + 4u);
    let f = input4(row, quad + 5u);
    let g = input4(row, quad + 6u);
    let h = input4(row, quad + 7u);
    let bits = max(max(max(magnitude(a), magnitude(b)), max(magnitude(c), magnitude(d))),
        max(max(magnitude(e), magnitude(f)), max(magnitude(g), magnitude(h))));
    let most_bits = max(max(bits.x, bits.y), max(bits.z, bits.w));
    // By their bits, as comparisons of NaN mean nothing everywhere.
    let is_zero = most_bits < LEAST;
    let most = bitcast<f32>(most_bits);
    let inverse = select(127.0 / most, 0.0, is_zero);
    let low = vec4<u32>(codes4(a, inverse), codes4(b, inverse), codes4(c, inverse), codes4(d, inverse));
    let high = vec4<u32>(codes4(e, inverse), codes4(f, inverse), codes4(g, inverse), codes4(h, inverse));
    return InputBlock(low, high, select(most / 127.0, 1.0, is_zero), f32(sum16(low) + sum16(high)));
}

fn input4(row: u32, quad: u32) -> vec4<f32> {
    let v = norm4(load4(row, quad), quad);
    let is_inside = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.in_features);
    return select(vec4<f32>(), v, is_inside);
}

// Magnitudes in the order of their bits, in which NaN is the largest: a block with one has it as its scale.
fn magnitude(v: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
}

fn codes4(v: vec4<f32>, inverse: f32) -> u32 {
    return pack4xI8(vec4<i32>(round(inverse * v)));
}

fn sum16(codes: vec4<u32>) -> i32 {
    let ones = 0x01010101u;
    return dot4I8Packed(codes.x, ones) + dot4I8Packed(codes.y, ones)
        + dot4I8Packed(codes.z, ones) + dot4I8Packed(codes.w, ones);
}
