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
    for (var k = lane; k < params.in_features; k += WORKGROUP_SIZE) {
        let d = x[row * params.in_features + k] - row_mean;
        square += d * d;
    }
    inverse_deviation = inverseSqrt(workgroup_sum(square, lane) / f32(params.in_features) + params.eps);
}

fn norm4(v: vec4<f32>, quad: u32) -> vec4<f32> {
    return (v - row_mean) * inverse_deviation * norm_weight4(0u, quad) + norm_weight4(params.in_features, quad);
}
