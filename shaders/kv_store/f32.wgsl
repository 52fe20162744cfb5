// Stores a head of keys or values in f32.
// Needs: stored_head (its elements, in workgroup memory), put_word (kv_out/*). Constants: HEAD_DIM, WORKGROUP_SIZE.
const ROW_WORDS: u32 = HEAD_DIM;

fn store_row(is_value: bool, row: u32, lane: u32) {
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        put_word(is_value, row * ROW_WORDS + d, bitcast<u32>(stored_head[d]));
    }
}
