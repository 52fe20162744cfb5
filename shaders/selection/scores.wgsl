// Experts are chosen by their scores. Needs: score_of (expert_weight/*).
fn selection_key(expert: u32, logit: f32) -> f32 {
    return score_of(logit);
}
