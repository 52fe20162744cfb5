fn norm_prepare(row: u32, lane: u32) {}

fn norm_state() -> vec2<f32> {
    return vec2<f32>();
}

fn norm_resume(state: vec2<f32>) {}

fn norm4(v: vec4<f32>, quad: u32) -> vec4<f32> {
    return v;
}
