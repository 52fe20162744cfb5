// The expert that every token uses, times the sigmoid of its gate (Qwen2-MoE). Needs: sigmoid (common/sigmoid).
@group(0) @binding(4) var<storage, read> shared_rows: array<f32>;         // [rows, hidden_size]
@group(0) @binding(5) var<storage, read> gates: array<f32>;               // [rows, gate_stride]

fn shared_expert_at(token: u32, at: u32) -> f32 {
    return sigmoid(gates[token * params.gate_stride + params.gate_offset]) * shared_rows[at];
}
