// Keys split over workgroups, at fixed multiples of split_keys: each writes its sum, maximum and weight for
// attention_merge. Layout of a part: VALUE_DIM sums, then the maximum, then the weight.
// Needs: first_visible, key_end (reach/*). Constants: VALUE_DIM.
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;         // [rows H, max_splits, VALUE_DIM + 2]

fn key_range(oldest: u32, newest: u32, part: u32) -> KeyRange {
    let first = first_visible(oldest, params.reach);
    let split = first / params.split_keys + part;
    return KeyRange(max(first, split * params.split_keys), min(key_end(newest), (split + 1u) * params.split_keys));
}

fn store_output(head: u32, part: u32, d: u32, acc: f32, max_score: f32, sum: f32) {
    let at = (head * params.max_splits + part) * (VALUE_DIM + 2u);
    parts[at + d] = acc;
    if d == 0u {
        parts[at + VALUE_DIM] = max_score;
        parts[at + VALUE_DIM + 1u] = sum;
    }
}
