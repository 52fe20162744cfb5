// Weights are divided by their sum.
fn normalized(choice: u32, sum: f32) -> f32 {
    return chosen_weight[choice] / (sum + 1e-20);
}
