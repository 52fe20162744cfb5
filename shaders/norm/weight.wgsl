// The scale, then the shift where there is one; zero beyond the row's end.
@group(0) @binding(8) var<storage, read> norm_weight: array<f32>;   // [1 or 2, in_features]

fn norm_weight4(base: u32, quad: u32) -> vec4<f32> {
    let k = 4u * quad;
    var v = vec4<f32>();
    for (var i = 0u; i < min(4u, max(params.in_features, k) - k); i += 1u) {
        v[i] = norm_weight[base + k + i];
    }
    return v;
}
