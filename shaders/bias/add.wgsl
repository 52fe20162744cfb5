@group(0) @binding(5) var<storage, read> bias: array<f32>;          // [experts, out_features]

fn bias4(expert: u32, n: u32) -> vec4<f32> {
    let at = expert * params.out_features + n;
    return vec4<f32>(bias[at], bias[at + 1u], bias[at + 2u], bias[at + 3u]);
}
