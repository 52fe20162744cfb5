// What is added to a scaled score: a stored number for each head and each distance of a key from its query, as far as
// BIAS_DISTANCE either way (T5, arXiv 1910.10683, section 2.1). Constants: BIAS_DISTANCE.
@group(0) @binding(11) var<storage, read> relative_bias: array<f32>;       // [H, 2 BIAS_DISTANCE + 1]

fn score_bias(head: u32, query_position: u32, key_position: u32) -> f32 {
    // Beyond it, all are alike. Up to it there is no wrapping: both are positions.
    let later = min(max(key_position, query_position) - query_position, BIAS_DISTANCE);
    let earlier = min(max(key_position, query_position) - key_position, BIAS_DISTANCE);
    return relative_bias[head * (2u * BIAS_DISTANCE + 1u) + BIAS_DISTANCE + later - earlier];
}
