// The weight of the largest logit among those that remain, from a softmax over those of them that are near it
// (arXiv 2409.12136, as in Phi-3.5-MoE). Needs: remaining, workgroup_sum (reduce/*), params.jitter, WORKGROUP_SIZE.
// Constants: EXPERTS.
fn weight_prepare(row: u32, lane: u32) {}

fn expert_weight(row: u32, chosen: Candidate, lane: u32) -> f32 {
    let most = chosen.value;
    var sum = 0.0;
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        let logit = remaining[e];
        // Not divided by, as the larger magnitude may be 0 or without bound.
        let is_near = most - logit <= 2.0 * params.jitter * max(abs(logit), most);
        if logit > LOWEST && is_near {
            sum += exp(max(logit - most, -80.0));
        }
    }
    let total = workgroup_sum(sum, lane);
    return select(0.0, 1.0 / max(total, 1.0), total > 0.0);
}
