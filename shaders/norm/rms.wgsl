// RMSNorm of the input row on the way in: x * rsqrt(mean(x^2) + eps) * scale (arXiv 1910.07467).
// Needs: load4 (linear/input), norm_weight4 (norm/weight), workgroup_sum (reduce/*). Constants: WORKGROUP_SIZE.
var<private> inverse_rms: f32;

fn norm_prepare(row: u32, lane: u32) {
    var square = 0.0;
    for (var quad = lane; 4u * quad < params.in_features; quad += WORKGROUP_SIZE) {
        let v = load4(row, quad);
        square += dot(v, v);
    }
    inverse_rms = inverseSqrt(workgroup_sum(square, lane) / f32(params.in_features) + params.eps);
}

fn norm_state() -> vec2<f32> {
    return vec2<f32>(inverse_rms, 0.0);
}

fn norm_resume(state: vec2<f32>) {
    inverse_rms = state.x;
}

fn norm4(v: vec4<f32>, quad: u32) -> vec4<f32> {
    return v * inverse_rms * norm_weight4(0u, quad);
}
