// Weights from a sigmoid of each logit (arXiv 2412.19437, section 2.1.2). The argument of exp is never positive, so that it
// cannot overflow. Needs: logit_at.
fn weight_prepare(row: u32, lane: u32) {}

fn score_of(logit: f32) -> f32 {
    let t = exp(-abs(logit));
    return select(t, 1.0, logit >= 0.0) / (1.0 + t);
}

fn expert_weight(row: u32, chosen: Candidate, lane: u32) -> f32 {
    return score_of(logit_at(row, chosen.index));
}
