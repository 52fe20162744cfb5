// Joins what a token's experts computed: y[t] = residual[t] + shared[t] + sum_j weight[t, j] * expert_rows[t, j], choices in
// order. One lane per element.
// Needs: residual_at (residual/*), shared_expert_at (shared_expert/*), combine_weight (combine_weight/*), slot_count,
// combined_slot, NONE (combine_slots/*), span.
// Constants: WORKGROUP_SIZE.
struct Params {
    hidden_size: u32,
    choices: u32,       // most experts of a token
    gate_stride: u32,   // elements between the gates of the shared expert of two tokens
    gate_offset: u32,   // where the gate is among them
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> expert_rows: array<f32>;         // [slots, hidden_size]
@group(0) @binding(7) var<storage, read_write> y: array<f32>;             // [rows, hidden_size]

fn run(workgroup: u32, lane: u32) {
    let i = workgroup * WORKGROUP_SIZE + lane;
    let token = i / params.hidden_size;
    if token >= span.rows {
        return;
    }
    let d = i % params.hidden_size;
    var sum = 0.0;
    for (var n = 0u; n < slot_count(token); n += 1u) {
        let slot = combined_slot(token, n);
        if slot != NONE {
            sum += combine_weight(slot) * expert_rows[slot * params.hidden_size + d];
        }
    }
    y[i] = residual_at(i) + (shared_expert_at(token, i) + sum);
}
