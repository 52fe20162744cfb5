// Every sequence has slots of its own: a ring of a local layer, which wraps by position, or all of its context.
// Needs: params.kv_heads, params.slots.
fn cache_row(sequence: u32, kv_head: u32, position: u32) -> u32 {
    return (sequence * params.kv_heads + kv_head) * params.slots + position % params.slots;
}
