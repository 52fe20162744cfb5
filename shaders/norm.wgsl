// A norm, or a scale and a shift, over every row: y[r] = (residual[r] + norm(x[r])) * factor * output_scale. One workgroup per row.
// Needs: load4 (linear/input), norm_prepare, norm4 (norm/*), residual_at (residual/*), output_scale (output_scale/*), span,
// workgroup_sum.
// Constants: WORKGROUP_SIZE.
struct Params {
    in_features: u32,
    eps: f32,
    rows_per_token: u32,
    factor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;             // [rows, in_features]

fn run(row: u32, lane: u32) {
    if row >= span.rows * params.rows_per_token {
        return;
    }
    norm_prepare(row, lane);
    for (var quad = lane; 4u * quad < params.in_features; quad += WORKGROUP_SIZE) {
        let v = norm4(load4(row, quad), quad);
        let at = row * params.in_features + 4u * quad;
        for (var i = 0u; i < min(4u, params.in_features - 4u * quad); i += 1u) {
            y[at + i] = (residual_at(at + i) + v[i]) * params.factor * output_scale();
        }
    }
}
