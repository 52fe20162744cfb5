// Weights follow from the logits of what is chosen, when all of it is known.
fn weight_prepare(row: u32, lane: u32) {}

fn expert_weight(row: u32, chosen: Candidate, lane: u32) -> f32 {
    return chosen.value;
}
