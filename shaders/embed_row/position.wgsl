// What is added to the embedding of a token by its position. Needs: span, y.
fn entry(row: u32) -> u32 {
    return span.position + row;
}

fn before(at: u32) -> f32 {
    return y[at];
}
