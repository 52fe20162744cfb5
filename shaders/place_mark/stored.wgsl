// Tells who joins the experts' rows which slots have one.
@group(0) @binding(6) var<storage, read_write> place_of_slot: array<u32>; // [rows choices]; NONE: dropped

fn mark_place(slot: u32, place: u32) {
    place_of_slot[slot] = place;
}
