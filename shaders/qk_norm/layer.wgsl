// LayerNorm over each head of Q and K, variance in a second pass (arXiv 1607.06450), with weights for all heads or for each.
// Needs: head, Scales, workgroup_sum (reduce/*), params.eps, params.heads, params.kv_heads, WORKGROUP_SIZE.
// Constants: HEAD_DIM, BY_HEAD.
@group(0) @binding(7) var<storage, read> head_norm: array<f32>;  // [2, 2 (1 without K) or H + G, HEAD_DIM]: scales of Q and K, then shifts

var<private> head_mean: f32;

// Lanes read the elements that they wrote.
fn head_scale(square: f32, first: u32, heads: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        sum += head[d];
    }
    head_mean = workgroup_sum(sum, lane) / f32(HEAD_DIM);
    var spread = 0.0;
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        let off = head[d] - head_mean;
        spread += off * off;
    }
    return inverseSqrt(workgroup_sum(spread, lane) / f32(HEAD_DIM) + params.eps);
}

fn normed(d: u32, scales: Scales) -> f32 {
    let rows = select(min(1 + params.kv_heads, 2u), params.heads + params.kv_heads, BY_HEAD);
    let row = select(scales.which, scales.which * params.heads + scales.head, BY_HEAD);
    let at = row * HEAD_DIM + d;
    return (head[d] - head_mean) * scales.scale * head_norm[at] + head_norm[rows * HEAD_DIM + at];
}
