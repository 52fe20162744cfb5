// Choices after the first are used with a probability of their weight over a share of the first one's (arXiv 2006.16668,
// section 2.2). Needs: uniform_random (common/random), position_of (common/span). Constants: FIRST_LATER_DRAW.
fn is_used(row: u32, choice: u32, weight: f32, first: f32) -> bool {
    let draw = uniform_random(params.seed, position_of(row), FIRST_LATER_DRAW + choice);
    return choice == 0u || weight >= params.later_share * draw * first;
}
