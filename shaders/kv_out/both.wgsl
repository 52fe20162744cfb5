// Keys and values, each into rows of their own.
@group(0) @binding(5) var<storage, read_write> k_out: array<u32>;         // [any, G, slots, ROW_WORDS]
@group(0) @binding(6) var<storage, read_write> v_out: array<u32>;         // [any, G, slots, ROW_WORDS]

fn put_word(is_value: bool, at: u32, word: u32) {
    if is_value {
        v_out[at] = word;
    } else {
        k_out[at] = word;
    }
}
