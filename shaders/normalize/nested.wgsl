// The softmax over the chosen groups times that over the chosen experts of each, whose first is its best.
// Needs: group_weight (expert_groups/nested), chosen_weight, which has logits. Constants: TOP_GROUPS.
fn normalized(choice: u32, sum: f32) -> f32 {
    let size = params.choices / TOP_GROUPS;
    let first = choice / size * size;
    let most = chosen_weight[first];
    var total = 0.0;
    for (var i = first; i < first + size; i += 1u) {
        total += term(chosen_weight[i], most);
    }
    return group_weight(choice / size) * term(chosen_weight[choice], most) / max(total, 1.0);
}

fn term(logit: f32, most: f32) -> f32 {
    return select(exp(max(logit - most, -80.0)), 0.0, logit == LOWEST);
}
