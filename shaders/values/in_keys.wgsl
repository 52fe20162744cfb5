// Values are the first elements of the keys (multi-head latent attention, arXiv 2405.04434, section 2.1).
// Needs: key_base, key_at (keys/*).
fn value_base(kv_head: u32, position: u32) -> u32 {
    return key_base(kv_head, position);
}

fn value_at(base: u32, d: u32) -> f32 {
    return key_at(base, d);
}
