// Rows of a cache in f16, two elements in a word. Constants: HEAD_DIM.
@group(0) @binding(3) var<storage, read> k_cache: array<u32>;             // [any, G, slots, ceil(HEAD_DIM / 2)]
@group(0) @binding(4) var<storage, read> v_cache: array<u32>;             // [any, G, slots, ceil(HEAD_DIM / 2)]
const ROW_WORDS: u32 = (HEAD_DIM + 1u) / 2u;

fn cached_key(row: u32, d: u32) -> f32 {
    return unpack2x16float(k_cache[row * ROW_WORDS + d / 2u])[d % 2u];
}

fn cached_value(row: u32, d: u32) -> f32 {
    return unpack2x16float(v_cache[row * ROW_WORDS + d / 2u])[d % 2u];
}
