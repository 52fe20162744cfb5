// Choices after the first are used where their weight is at least a share of the first one's (arXiv 2202.08906).
fn is_used(row: u32, choice: u32, weight: f32, first: f32) -> bool {
    return choice == 0u || weight >= params.later_share * first;
}
