// A choice of a token has a row unless it was dropped.
@group(0) @binding(8) var<storage, read> place_of_slot: array<u32>;       // [rows, choices]; NONE: dropped
const NONE: u32 = 0xffffffffu;

fn slot_count(token: u32) -> u32 {
    return params.choices;
}

fn combined_slot(token: u32, n: u32) -> u32 {
    let slot = token * params.choices + n;
    return select(slot, NONE, place_of_slot[slot] == NONE);
}
