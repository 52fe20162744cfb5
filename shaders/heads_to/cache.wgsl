// Keys and values of a token go into the cache, over those that left the window. Needs: cache_row (cache/*), span, sequence_of (common/span).
fn destination_row(row: u32, kv_head: u32, position: u32) -> u32 {
    return cache_row(span.each[sequence_of(row)].sequence, kv_head, position);
}
