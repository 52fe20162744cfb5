// A team of one lane has its sum.
fn team_sum4(value: vec4<f32>, lane: u32) -> vec4<f32> {
    return value;
}
