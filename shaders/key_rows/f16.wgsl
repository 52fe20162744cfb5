// A cache's rows of keys in f16, two elements in a word. Constants: HEAD_DIM.
@group(0) @binding(3) var<storage, read> k_cache: array<u32>;             // [any, G, slots, ceil(HEAD_DIM / 2)]
const KEY_WORDS: u32 = (HEAD_DIM + 1u) / 2u;

fn cached_key(row: u32, d: u32) -> f32 {
    return unpack2x16float(k_cache[row * KEY_WORDS + d / 2u])[d % 2u];
}

fn cached_quad(row: u32, quad: u32) -> vec4<f32> {
    let at = row * KEY_WORDS + 2u * quad;
    return vec4<f32>(unpack2x16float(k_cache[at]), unpack2x16float(k_cache[at + 1u]));
}
