// All keys in one workgroup: the output is final. A query that sees no key gives 0.
// Needs: first_visible (common/window). Constants: HEAD_DIM.
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, H, HEAD_DIM]

fn key_range(oldest: u32, newest: u32, part: u32) -> KeyRange {
    // A folded grid has workgroups to spare; their part is beyond the only one.
    return KeyRange(first_visible(oldest, params.window), select(newest + 1u, 0u, part > 0u));
}

fn store_output(head: u32, part: u32, d: u32, acc: f32, max_score: f32, sum: f32) {
    out[head * HEAD_DIM + d] = select(0.0, acc / max(sum, 1e-30), sum > 0.0);
}
