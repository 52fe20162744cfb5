// The workgroup is the team. Needs: workgroup_sum4 (reduce/*). Call from uniform control flow.
fn team_sum4(value: vec4<f32>, lane: u32) -> vec4<f32> {
    return workgroup_sum4(value, lane);
}
