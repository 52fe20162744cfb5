// A cache's rows of values in f16, two elements in a word. Constants: VALUE_DIM.
@group(0) @binding(4) var<storage, read> v_cache: array<u32>;             // [any, G, slots, ceil(VALUE_DIM / 2)]
const VALUE_WORDS: u32 = (VALUE_DIM + 1u) / 2u;

fn cached_value(row: u32, d: u32) -> f32 {
    return unpack2x16float(v_cache[row * VALUE_WORDS + d / 2u])[d % 2u];
}
