// What a query sees of the keys: all of this call, before it and after it. The call has one sequence. Needs: span.
fn visible(query_position: u32, key_position: u32, reach: u32) -> bool {
    return true;
}

fn first_visible(position: u32, reach: u32) -> u32 {
    return 0u;
}

fn key_end(newest: u32) -> u32 {
    return span.each[0].position + span.each[0].rows;
}
