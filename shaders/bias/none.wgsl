fn bias4(expert: u32, n: u32) -> vec4<f32> {
    return vec4<f32>();
}
