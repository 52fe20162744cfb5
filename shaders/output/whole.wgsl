// All keys in one workgroup: the output is final. A query that sees no key gives 0.
// Needs: first_visible, key_end (reach/*), with_sink (sinks/*). Constants: VALUE_DIM.
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, H, VALUE_DIM]

fn key_range(oldest: u32, newest: u32, part: u32) -> KeyRange {
    // A folded grid has workgroups to spare; their part is beyond the only one.
    return KeyRange(first_visible(oldest, params.reach), select(key_end(newest), 0u, part > 0u));
}

fn store_output(head: u32, part: u32, d: u32, acc: f32, max_score: f32, sum: f32) {
    let weight = with_sink(head % params.heads, max_score, sum);
    out[head * VALUE_DIM + d] = select(0.0, acc * weight.x / max(weight.y, 1e-30), sum > 0.0);
}
