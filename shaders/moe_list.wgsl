// The slots of each token in the order of experts, without those of experts that did not choose it. One lane per token.
// Needs: span. Constants: WORKGROUP_SIZE.
struct Params { experts: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> slot_of_choice: array<u32>;      // [experts, rows]; NONE: not chosen
@group(0) @binding(3) var<storage, read_write> slots_of_token: array<u32>;    // [rows, experts]
@group(0) @binding(4) var<storage, read_write> experts_of_token: array<u32>;  // [rows]: how many
const NONE: u32 = 0xffffffffu;

fn run(workgroup: u32, lane: u32) {
    let token = workgroup * WORKGROUP_SIZE + lane;
    if token >= span.rows {
        return;
    }
    var count = 0u;
    for (var e = 0u; e < params.experts; e += 1u) {
        let slot = slot_of_choice[e * span.rows + token];
        if slot != NONE {
            slots_of_token[token * params.experts + count] = slot;
            count += 1u;
        }
    }
    experts_of_token[token] = count;
}
