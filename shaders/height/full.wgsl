// Queries of a workgroup where the keys are divided among workgroups. Constants: QUERIES.
fn tile_height(queries: u32, keys: u32) -> u32 {
    return QUERIES;
}
