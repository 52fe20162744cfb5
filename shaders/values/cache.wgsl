// Values from the cache alone, where keys are. Needs: cached_value (value_rows/*).
fn value_at(row: u32, d: u32) -> f32 {
    return cached_value(row, d);
}
