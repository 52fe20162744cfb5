// Tiles go over slots of experts that chose their tokens; a slot's input is its token's row.
@group(0) @binding(10) var<storage, read> token_of_slot: array<u32>;      // [slots]

fn slot_at(index: u32) -> u32 {
    return index;
}

fn input_at(index: u32) -> u32 {
    return token_of_slot[index];
}
