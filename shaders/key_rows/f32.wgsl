// A cache's rows of keys in f32. Constants: HEAD_DIM.
@group(0) @binding(3) var<storage, read> k_cache: array<f32>;             // [any, G, slots, HEAD_DIM]

fn cached_key(row: u32, d: u32) -> f32 {
    return k_cache[row * HEAD_DIM + d];
}

fn cached_quad(row: u32, quad: u32) -> vec4<f32> {
    let at = row * HEAD_DIM + 4u * quad;
    return vec4<f32>(k_cache[at], k_cache[at + 1u], k_cache[at + 2u], k_cache[at + 3u]);
}
