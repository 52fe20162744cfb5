// Experts are chosen by their logits: scores have the same order, but some logits that differ have one score.
fn selection_key(expert: u32, logit: f32) -> f32 {
    return logit;
}
