// What a query sees of the keys: those up to its own in its own chunk of `reach` tokens (Llama 4).
fn visible(query_position: u32, key_position: u32, reach: u32) -> bool {
    return key_position <= query_position && key_position / reach == query_position / reach;
}

fn first_visible(position: u32, reach: u32) -> u32 {
    return position - position % reach;
}

fn key_end(newest: u32) -> u32 {
    return newest + 1u;
}
