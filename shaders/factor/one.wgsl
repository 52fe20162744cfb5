fn factor_at(row: u32, n: u32) -> f32 {
    return 1.0;
}
