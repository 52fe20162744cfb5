// RMSNorm over each head of Q and K, before the rotation (arXiv 2503.19786, section 2).
// Needs: head, Scales, workgroup_sum (reduce/*), params.eps.
@group(0) @binding(7) var<storage, read> head_norm: array<f32>;           // [2, HEAD_DIM]: Q's scale, K's if there is K

fn head_scale(square: f32, first: u32, heads: u32, lane: u32) -> f32 {
    return inverseSqrt(workgroup_sum(square, lane) / f32(HEAD_DIM) + params.eps);
}

fn normed(d: u32, scales: Scales) -> f32 {
    return head[d] * scales.scale * head_norm[scales.which * HEAD_DIM + d];
}
