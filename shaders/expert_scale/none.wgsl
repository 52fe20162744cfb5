fn expert_scale_of(expert: u32) -> f32 {
    return 1.0;
}
