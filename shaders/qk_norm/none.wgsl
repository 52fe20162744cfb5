fn head_scale(square: f32, first: u32, heads: u32, lane: u32) -> f32 {
    return 1.0;
}

fn head_weight(which: u32, head: u32, d: u32) -> f32 {
    return 1.0;
}
