// A cache's rows of values in f32. Constants: VALUE_DIM.
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;             // [any, G, slots, VALUE_DIM]

fn cached_value(row: u32, d: u32) -> f32 {
    return v_cache[row * VALUE_DIM + d];
}
