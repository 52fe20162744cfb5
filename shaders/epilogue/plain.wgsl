// y = residual + activate(acc + bias) * factor.
// Needs: bias4 (bias/*), residual_at (residual/*), activate (activation/*), slot_weight (slot_weight/*), factor_at (factor/*).
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, out_stride]

fn store4(row: u32, expert: u32, n: u32, acc: vec4<f32>) {
    let biased = acc * slot_weight(row) + bias4(expert, n);
    let at = row * params.out_stride + params.out_offset + n;
    for (var i = 0u; i < min(4u, params.out_features - n); i += 1u) {
        y[at + i] = residual_at(at + i) + activate(biased[i]) * factor_at(row, params.out_offset + n + i);
    }
}
