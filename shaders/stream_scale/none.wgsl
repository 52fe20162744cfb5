fn stream_scale(k: u32) -> f32 {
    return 1.0;
}
