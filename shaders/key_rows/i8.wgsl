// A cache's rows of keys as signed 8-bit codes, four in a word, behind the scale of the row. Constants: HEAD_DIM.
@group(0) @binding(3) var<storage, read> k_cache: array<u32>;             // [any, G, slots, 1 + ceil(HEAD_DIM / 4)]
const KEY_WORDS: u32 = 1u + (HEAD_DIM + 3u) / 4u;

fn cached_key(row: u32, d: u32) -> f32 {
    let codes = unpack4xI8(k_cache[row * KEY_WORDS + 1u + d / 4u]);
    return f32(codes[d % 4u]) * bitcast<f32>(k_cache[row * KEY_WORDS]);
}

fn cached_quad(row: u32, quad: u32) -> vec4<f32> {
    let codes = unpack4xI8(k_cache[row * KEY_WORDS + 1u + quad]);
    return vec4<f32>(codes) * bitcast<f32>(k_cache[row * KEY_WORDS]);
}
