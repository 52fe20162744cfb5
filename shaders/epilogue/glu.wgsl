// Gated pairs: rows 2j (gate) and 2j + 1 (up) of the weights give y[j] = glu(gate, up).
// Needs: bias4 (bias/*), glu (glu/*), slot_weight (slot_weight/*).
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, out_stride]

fn store4(row: u32, expert: u32, n: u32, acc: vec4<f32>) {
    let biased = acc * slot_weight(row) + bias4(expert, n);
    let at = row * params.out_stride + params.out_offset + n / 2u;
    y[at] = glu(biased.x, biased.y);
    if n + 2u < params.out_features {
        y[at + 1u] = glu(biased.z, biased.w);
    }
}
