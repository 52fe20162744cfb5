// Normal noise with a spread of its own for each token and expert (arXiv 1701.06538, section 2.1).
// Needs: normal_random (common/normal), second_at, position_of (common/span).
fn router_noise(row: u32, expert: u32) -> f32 {
    let spread = second_at(row, expert);
    let softplus = max(spread, 0.0) + log(1.0 + exp(-abs(spread)));
    return normal_random(params.seed, position_of(row), expert) * softplus;
}
