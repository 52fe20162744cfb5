// Tiles go over slots sorted by expert, as moe_place left them; a slot's input is its token's row, or its own.
@group(0) @binding(10) var<storage, read> slot_of_place: array<u32>;      // [slots], sorted by expert

fn slot_at(index: u32) -> u32 {
    return slot_of_place[index];
}

fn input_at(index: u32) -> u32 {
    return slot_of_place[index] / params.slots_per_input;
}
