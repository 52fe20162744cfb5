// Experts are chosen by their scores and a stored bias, which has no part in their weights (arXiv 2412.19437, section 2.1.2).
// Needs: score_of (expert_weight/*).
@group(0) @binding(5) var<storage, read> selection_bias: array<f32>;      // [EXPERTS]

fn selection_key(expert: u32, logit: f32) -> f32 {
    return score_of(logit) + selection_bias[expert];
}
