// Experts that no router chooses, each with the same weight. One lane per (token, choice).
// Needs: looked_up (lookup/*), span. Constants: WORKGROUP_SIZE.
struct Params { experts: u32, choices: u32, seed: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read_write> expert_of_slot: array<u32>;    // [rows, choices]
@group(0) @binding(5) var<storage, read_write> weight_of_slot: array<f32>;    // [rows, choices]

fn run(workgroup: u32, lane: u32) {
    let slot = workgroup * WORKGROUP_SIZE + lane;
    if slot >= span.rows * params.choices {
        return;
    }
    let expert = looked_up(slot / params.choices, slot % params.choices);
    expert_of_slot[slot] = min(expert, params.experts - 1u);
    weight_of_slot[slot] = 1.0 / f32(params.choices);
}
