// A cache's rows of values as signed 8-bit codes, four in a word, behind the scale of the row. Constants: VALUE_DIM.
@group(0) @binding(4) var<storage, read> v_cache: array<u32>;             // [any, G, slots, 1 + ceil(VALUE_DIM / 4)]
const VALUE_WORDS: u32 = 1u + (VALUE_DIM + 3u) / 4u;

fn cached_value(row: u32, d: u32) -> f32 {
    let codes = unpack4xI8(v_cache[row * VALUE_WORDS + 1u + d / 4u]);
    return f32(codes[d % 4u]) * bitcast<f32>(v_cache[row * VALUE_WORDS]);
}
