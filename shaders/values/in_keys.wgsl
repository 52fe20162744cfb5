// Values are the first elements of the keys (multi-head latent attention, arXiv 2405.04434, section 2.1).
// Needs: key_at (keys/*).
fn value_at(row: u32, d: u32) -> f32 {
    return key_at(row, d);
}
