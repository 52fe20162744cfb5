fn is_used(row: u32, choice: u32, weight: f32, first: f32) -> bool {
    return true;
}
