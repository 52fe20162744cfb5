// What the softmax of a head's scores is divided by, relative to the largest score, and what outputs are multiplied by first.
fn with_sink(head: u32, max_score: f32, sum: f32) -> vec2<f32> {
    return vec2<f32>(1.0, sum);
}
