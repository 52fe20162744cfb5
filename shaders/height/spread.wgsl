// Queries of a workgroup where one walks all keys: a few that have many keys to walk are spread over workgroups.
// Constants: QUERIES, SPREAD, MANY_KEYS.
fn tile_height(queries: u32, keys: u32) -> u32 {
    let spread = clamp((queries * params.kv_heads + SPREAD - 1u) / SPREAD, 1u, QUERIES);
    return select(QUERIES, spread, keys > MANY_KEYS);
}
