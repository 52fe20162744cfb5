// Sorts slots by expert, stably: place = start of the expert's slots of this run + its rank in the run.
// One lane per slot. Needs: span. Constants: WORKGROUP_SIZE.
struct Params { experts: u32, choices: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> expert_of_slot: array<u32>;      // [rows choices]
@group(0) @binding(3) var<storage, read> offsets: array<u32>;             // [runs, experts]
@group(0) @binding(4) var<storage, read_write> slot_of_place: array<u32>; // [rows choices]

var<workgroup> run_experts: array<u32, WORKGROUP_SIZE>;

fn run(workgroup: u32, lane: u32) {
    let slots = span.rows * params.choices;
    let slot = workgroup * WORKGROUP_SIZE + lane;
    if slot < slots {
        run_experts[lane] = expert_of_slot[slot];
    }
    workgroupBarrier();
    if slot < slots {
        let expert = run_experts[lane];
        var rank = 0u;
        for (var i = 0u; i < lane; i += 1u) {
            rank += u32(run_experts[i] == expert);
        }
        slot_of_place[offsets[workgroup * params.experts + expert] + rank] = slot;
    }
}
