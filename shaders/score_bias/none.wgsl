// Nothing is added to a score.
fn score_bias(head: u32, query_position: u32, key_position: u32) -> f32 {
    return 0.0;
}
