// Needs: token_id (ids/*).
fn entry(row: u32) -> u32 {
    return token_id(row);
}

fn before(at: u32) -> f32 {
    return 0.0;
}
