// Weights from a softmax over all experts (arXiv 2101.03961, 2006.16668).
// Needs: logit_at, better, workgroup_argmax, workgroup_sum (reduce/*), WORKGROUP_SIZE. Constants: EXPERTS.
var<private> largest_logit: f32;
var<private> exp_sum: f32;

fn weight_prepare(row: u32, lane: u32) {
    var best = Candidate(TAKEN, EXPERTS);
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        best = better(best, Candidate(logit_at(row, e), e));
    }
    largest_logit = workgroup_argmax(best, lane).value;
    var sum = 0.0;
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        let logit = logit_at(row, e);
        sum += select(exp(max(logit - largest_logit, -80.0)), 0.0, logit == LOWEST);
    }
    exp_sum = max(workgroup_sum(sum, lane), 1.0);
}

fn score_of(logit: f32) -> f32 {
    return select(exp(max(logit - largest_logit, -80.0)) / exp_sum, 0.0, logit == LOWEST);
}

fn expert_weight(row: u32, chosen: Candidate, lane: u32) -> f32 {
    return score_of(logit_at(row, chosen.index));
}
