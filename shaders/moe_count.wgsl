// Slots per expert in each run of 256 slots. One workgroup per run; lanes stride over the experts, each counting
// in slot order, so that no atomic is needed.
// Needs: span. Constants: WORKGROUP_SIZE.
struct Params { experts: u32, choices: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> expert_of_slot: array<u32>;      // [rows choices]
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;        // [runs, experts]

var<workgroup> run_experts: array<u32, WORKGROUP_SIZE>;

fn run(workgroup: u32, lane: u32) {
    let slots = span.rows * params.choices;
    let first = workgroup * WORKGROUP_SIZE;
    if first >= slots {
        return;
    }
    let length = min(WORKGROUP_SIZE, slots - first);
    if lane < length {
        run_experts[lane] = expert_of_slot[first + lane];
    }
    workgroupBarrier();
    for (var e = lane; e < params.experts; e += WORKGROUP_SIZE) {
        var count = 0u;
        for (var i = 0u; i < length; i += 1u) {
            count += u32(run_experts[i] == e);
        }
        counts[workgroup * params.experts + e] = count;
    }
}
