// Rows of a cache as signed 8-bit codes, four in a word, behind the scale of the row. Constants: HEAD_DIM.
@group(0) @binding(3) var<storage, read> k_cache: array<u32>;             // [any, G, slots, 1 + ceil(HEAD_DIM / 4)]
@group(0) @binding(4) var<storage, read> v_cache: array<u32>;             // [any, G, slots, 1 + ceil(HEAD_DIM / 4)]
const ROW_WORDS: u32 = 1u + (HEAD_DIM + 3u) / 4u;

fn cached_key(row: u32, d: u32) -> f32 {
    let codes = unpack4xI8(k_cache[row * ROW_WORDS + 1u + d / 4u]);
    return f32(codes[d % 4u]) * bitcast<f32>(k_cache[row * ROW_WORDS]);
}

fn cached_value(row: u32, d: u32) -> f32 {
    let codes = unpack4xI8(v_cache[row * ROW_WORDS + 1u + d / 4u]);
    return f32(codes[d % 4u]) * bitcast<f32>(v_cache[row * ROW_WORDS]);
}
