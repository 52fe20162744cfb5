// Sequences share pages of `slots` tokens, each with a list of those it has (arXiv 2309.06180, section 4.2).
// Needs: params.kv_heads, params.slots, params.pages.
@group(0) @binding(9) var<storage, read> page_table: array<u32>;          // [sequences, pages]

fn cache_row(sequence: u32, kv_head: u32, position: u32) -> u32 {
    let page = page_table[sequence * params.pages + position / params.slots];
    return (page * params.kv_heads + kv_head) * params.slots + position % params.slots;
}
