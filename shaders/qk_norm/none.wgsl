// Needs: head, Scales.
fn head_scale(square: f32, first: u32, heads: u32, lane: u32) -> f32 {
    return 1.0;
}

fn normed(d: u32, scales: Scales) -> f32 {
    return head[d];
}
