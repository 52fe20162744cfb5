// A scale and a shift for each input on the way in: v * scale + shift (OmniQuant's transformation, arXiv 2308.13137).
// Needs: norm_weight4 (norm/weight).
fn norm_prepare(row: u32, lane: u32) {}

fn norm_state() -> vec2<f32> {
    return vec2<f32>();
}

fn norm_resume(state: vec2<f32>) {}

fn norm4(v: vec4<f32>, quad: u32) -> vec4<f32> {
    return v * norm_weight4(0u, quad) + norm_weight4(params.in_features, quad);
}
