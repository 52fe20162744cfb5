// Stores a head of keys or values as signed 8-bit codes, four in a word, behind its scale: max |x| / 127, in f32.
// Needs: stored_head (its elements, in workgroup memory), put_word (kv_out/*). Constants: HEAD_DIM, WORKGROUP_SIZE.
const ROW_WORDS: u32 = 1u + (HEAD_DIM + 3u) / 4u;
// Below it a head is zero: its scale and the inverse of that stay far from both ends of f32.
const LEAST: f32 = 1e-30;

fn store_row(is_value: bool, row: u32, lane: u32) {
    var most = 0.0;
    for (var d = 0u; d < HEAD_DIM; d += 1u) {
        most = max(most, abs(stored_head[d]));
    }
    let is_zero = most < LEAST;
    let inverse = select(127.0 / most, 0.0, is_zero);
    for (var i = lane; i < ROW_WORDS; i += WORKGROUP_SIZE) {
        var word = bitcast<u32>(select(most / 127.0, 0.0, is_zero));
        if i > 0u {
            let first = 4u * (i - 1u);
            let x = vec4<f32>(element(first), element(first + 1u), element(first + 2u), element(first + 3u));
            word = pack4xI8(vec4<i32>(round(x * inverse)));
        }
        put_word(is_value, row * ROW_WORDS + i, word);
    }
}

fn element(d: u32) -> f32 {
    return select(0.0, stored_head[min(d, HEAD_DIM - 1u)], d < HEAD_DIM);
}
