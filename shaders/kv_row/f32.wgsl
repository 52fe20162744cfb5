// Rows of a cache in f32. Constants: HEAD_DIM.
@group(0) @binding(3) var<storage, read> k_cache: array<f32>;             // [any, G, slots, HEAD_DIM]
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;             // [any, G, slots, HEAD_DIM]

fn cached_key(row: u32, d: u32) -> f32 {
    return k_cache[row * HEAD_DIM + d];
}

fn cached_value(row: u32, d: u32) -> f32 {
    return v_cache[row * HEAD_DIM + d];
}
