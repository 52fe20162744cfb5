// Keys alone: values are a part of them.
@group(0) @binding(5) var<storage, read_write> k_out: array<u32>;         // [any, G, slots, ROW_WORDS]

fn put_word(is_value: bool, at: u32, word: u32) {
    k_out[at] = word;
}
