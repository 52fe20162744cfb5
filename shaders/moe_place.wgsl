// Sorts slots by expert, stably: place = start of the expert's slots of this run + its rank in the run. What an expert does
// not take, and what has no expert, has no place.
// One lane per slot. Needs: queued_slot (queue/*), capacity (capacity/*), mark_place (place_mark/*), span.
// Constants: WORKGROUP_SIZE, LIMITED.
struct Params { experts: u32, choices: u32, share_numerator: u32, share_denominator: u32, share_round: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> expert_of_slot: array<u32>;      // [rows choices]
@group(0) @binding(3) var<storage, read> rank_of_slot: array<u32>;        // [rows choices]
@group(0) @binding(4) var<storage, read> offsets: array<u32>;             // [runs, experts]
@group(0) @binding(5) var<storage, read_write> slot_of_place: array<u32>; // [rows choices]
const NONE: u32 = 0xffffffffu;

fn run(workgroup: u32, lane: u32) {
    let queued = workgroup * WORKGROUP_SIZE + lane;
    if queued >= span.rows * params.choices {
        return;
    }
    let slot = queued_slot(queued);
    let expert = expert_of_slot[slot];
    var place = NONE;
    if expert < params.experts {
        place = offsets[workgroup * params.experts + expert] + rank_of_slot[slot];
        // Where the expert's first run starts, all its places do.
        if LIMITED && place - offsets[expert] >= capacity() {
            place = NONE;
        }
    }
    if place != NONE {
        slot_of_place[place] = slot;
    }
    mark_place(slot, place);
}
