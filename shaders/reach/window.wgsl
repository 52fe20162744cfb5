// What a query sees of the keys: those up to its own, and in a local layer the last `reach` of them (0: all).
fn visible(query_position: u32, key_position: u32, reach: u32) -> bool {
    return key_position <= query_position && (reach == 0u || query_position - key_position < reach);
}

fn first_visible(position: u32, reach: u32) -> u32 {
    return select(0u, position + 1u - reach, reach != 0u && position + 1u > reach);
}

fn key_end(newest: u32) -> u32 {
    return newest + 1u;
}
