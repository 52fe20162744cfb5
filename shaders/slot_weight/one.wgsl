fn slot_weight(slot: u32) -> f32 {
    return 1.0;
}
