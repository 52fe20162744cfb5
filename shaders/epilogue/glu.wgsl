// Gated pairs: rows 2j (gate) and 2j + 1 (up) of the weights give y[j] = activate(gate) * up.
// Needs: bias4 (bias/*), activate (activation/*).
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, out_stride]

fn store4(row: u32, expert: u32, n: u32, acc: vec4<f32>) {
    let biased = acc + bias4(expert, n);
    let at = row * params.out_stride + params.out_offset + n / 2u;
    y[at] = activate(biased.x) * biased.y;
    if n + 2u < params.out_features {
        y[at + 1u] = activate(biased.z) * biased.w;
    }
}
