// Weights from a sigmoid of each logit (arXiv 2412.19437, section 2.1.2). Needs: logit_at, sigmoid (common/sigmoid).
fn weight_prepare(row: u32, lane: u32) {}

fn score_of(logit: f32) -> f32 {
    return sigmoid(logit);
}

fn expert_weight(row: u32, chosen: Candidate, lane: u32) -> f32 {
    return score_of(logit_at(row, chosen.index));
}
