// What is added to the embedding of a token by its position. Needs: position_of (common/span), y.
fn entry(row: u32) -> u32 {
    return position_of(row);
}

fn before(at: u32) -> f32 {
    return y[at];
}
