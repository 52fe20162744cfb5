// LayerNorm of the input row on the way in, variance in a second pass (arXiv 1607.06450).
// Needs: load4 (linear/input), norm_weight4 (norm/weight), workgroup_sum (reduce/*). Constants: WORKGROUP_SIZE.
var<private> row_mean: f32;
var<private> inverse_deviation: f32;

fn norm_prepare(row: u32, lane: u32) {
    var sum = 0.0;
    for (var quad = lane; 4u * quad < params.in_features; quad += WORKGROUP_SIZE) {
        sum += dot(load4(row, quad), vec4<f32>(1.0));
    }
    row_mean = workgroup_sum(sum, lane) / f32(params.in_features);
    var square = 0.0;
    for (var quad = lane; 4u * quad < params.in_features; quad += WORKGROUP_SIZE) {
        let is_inside = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.in_features);
        let d = select(vec4<f32>(), load4(row, quad) - row_mean, is_inside);
        square += dot(d, d);
    }
    inverse_deviation = inverseSqrt(workgroup_sum(square, lane) / f32(params.in_features) + params.eps);
}

fn norm_state() -> vec2<f32> {
    return vec2<f32>(row_mean, inverse_deviation);
}

fn norm_resume(state: vec2<f32>) {
    row_mean = state.x;
    inverse_deviation = state.y;
}

fn norm4(v: vec4<f32>, quad: u32) -> vec4<f32> {
    return (v - row_mean) * inverse_deviation * norm_weight4(0u, quad) + norm_weight4(params.in_features, quad);
}
