// Experts' inputs were multiplied by the weights.
fn combine_weight(slot: u32) -> f32 {
    return 1.0;
}
