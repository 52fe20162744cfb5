fn mark_place(slot: u32, place: u32) {}
