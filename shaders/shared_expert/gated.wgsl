// The expert that every token uses, times the sigmoid of its gate (Qwen2-MoE). The argument of exp is never positive, so
// that it cannot overflow.
@group(0) @binding(4) var<storage, read> shared_rows: array<f32>;         // [rows, hidden_size]
@group(0) @binding(5) var<storage, read> gates: array<f32>;               // [rows, gate_stride]

fn shared_expert_at(token: u32, at: u32) -> f32 {
    let gate = gates[token * params.gate_stride + params.gate_offset];
    let t = exp(-abs(gate));
    return select(t, 1.0, gate >= 0.0) / (1.0 + t) * shared_rows[at];
}
