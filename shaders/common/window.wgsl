// What a query sees of the keys: those up to its own, and in a local layer the last `window` of them (0: all).
fn visible(query_position: u32, key_position: u32, window: u32) -> bool {
    return key_position <= query_position && (window == 0u || query_position - key_position < window);
}

fn first_visible(position: u32, window: u32) -> u32 {
    return select(0u, position + 1u - window, window != 0u && position + 1u > window);
}
