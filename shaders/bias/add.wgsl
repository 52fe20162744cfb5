@group(0) @binding(5) var<storage, read> bias: array<f32>;          // [experts, out_features]

// The last four of a matrix may be fewer: the last one stands again, and store4 drops it.
fn bias4(expert: u32, n: u32) -> vec4<f32> {
    let at = expert * params.out_features + n;
    let last = params.out_features - 1u - n;
    return vec4<f32>(bias[at], bias[at + min(1u, last)], bias[at + min(2u, last)], bias[at + min(3u, last)]);
}
