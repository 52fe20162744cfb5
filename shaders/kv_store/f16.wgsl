// Stores a head of keys or values in f16, two elements in a word; what is beyond its range becomes its largest.
// Needs: stored_head (its elements, in workgroup memory), put_word (kv_out/*). Constants: HEAD_DIM, WORKGROUP_SIZE.
const ROW_WORDS: u32 = (HEAD_DIM + 1u) / 2u;

fn store_row(is_value: bool, row: u32, lane: u32) {
    for (var i = lane; i < ROW_WORDS; i += WORKGROUP_SIZE) {
        let low = stored_head[2u * i];
        let high = select(0.0, stored_head[min(2u * i + 1u, HEAD_DIM - 1u)], 2u * i + 1u < HEAD_DIM);
        let word = pack2x16float(clamp(vec2<f32>(low, high), vec2<f32>(-65504.0), vec2<f32>(65504.0)));
        put_word(is_value, row * ROW_WORDS + i, word);
    }
}
