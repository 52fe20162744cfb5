// Sorts slots by expert, stably: place = start of the expert's slots of this run + its rank in the run.
// One lane per slot. Needs: span. Constants: WORKGROUP_SIZE.
struct Params { experts: u32, choices: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> expert_of_slot: array<u32>;      // [rows choices]
@group(0) @binding(3) var<storage, read> rank_of_slot: array<u32>;        // [rows choices]
@group(0) @binding(4) var<storage, read> offsets: array<u32>;             // [runs, experts]
@group(0) @binding(5) var<storage, read_write> slot_of_place: array<u32>; // [rows choices]

fn run(workgroup: u32, lane: u32) {
    let slot = workgroup * WORKGROUP_SIZE + lane;
    if slot < span.rows * params.choices {
        let offset = offsets[workgroup * params.experts + expert_of_slot[slot]];
        slot_of_place[offset + rank_of_slot[slot]] = slot;
    }
}
