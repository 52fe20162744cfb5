// Ranks the slots of each run of 256 within their expert, and counts them by expert. One workgroup per run, one lane per slot;
// each lane counts for itself, in the order of the queue, so that no atomic is needed and the time does not hang on the
// experts. A slot without an expert is counted for none.
// Needs: queued_slot (queue/*), span. Constants: WORKGROUP_SIZE, EXPERTS.
struct Params { experts: u32, choices: u32, share_numerator: u32, share_denominator: u32, share_round: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> expert_of_slot: array<u32>;      // [rows choices]
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;        // [runs, EXPERTS]
@group(0) @binding(4) var<storage, read_write> rank_of_slot: array<u32>;  // [rows choices]: among those of its run

var<workgroup> run_experts: array<u32, WORKGROUP_SIZE>;
var<workgroup> run_counts: array<u32, EXPERTS>;

fn run(workgroup: u32, lane: u32) {
    let slots = span.rows * params.choices;
    let first = workgroup * WORKGROUP_SIZE;
    if first >= slots {
        return;
    }
    let length = min(WORKGROUP_SIZE, slots - first);
    var slot = 0u;
    if lane < length {
        slot = queued_slot(first + lane);
        run_experts[lane] = expert_of_slot[slot];
    }
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        run_counts[e] = 0u;
    }
    workgroupBarrier();
    if lane < length {
        let expert = run_experts[lane];
        var before = 0u;
        var others = 0u;
        for (var i = 0u; i < length; i += 1u) {
            let is_alike = u32(run_experts[i] == expert);
            others += is_alike;
            before += is_alike & u32(i < lane);
        }
        rank_of_slot[slot] = before;
        // The last of an expert knows how many there are.
        if before + 1u == others && expert < EXPERTS {
            run_counts[expert] = others;
        }
    }
    workgroupBarrier();
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        counts[workgroup * EXPERTS + e] = run_counts[e];
    }
}
